{{/*
What the API server asks Sallyport about. It is rendered twice: as the objects, and into the
ConfigMap, by which the server and 'sallyport doctor' notice when somebody changes them.
*/}}
{{- define "sallyport.webhooks" -}}
{{- $profile := include "sallyport.profile" . | fromYaml -}}
# What the API server asks Sallyport about. Every field that the API server
# would default is written out, so that applying this twice changes nothing;
# clientConfig.caBundle and the matchCondition "needed" are left out, because the
# server owns them at run time.
#
# Who may break the glass has two ways, both with the verb 'breakglass' on
# 'egresspolicies' of 'policy.sallyport.dev' (samples/rbac/break-glass.yaml):
#
# - sallyport.dev/break-glass: <reason> is for every day. The server judges the
#   object and lets through what it would deny, with a warning, an entry in the
#   audit log that names the rules, and a metric (sallyport_breakglass_total).
# - sallyport.dev/break-glass-outage: <reason> is for when the server is away and
#   the API server answers 'failed calling webhook'. Then nobody judges: the API
#   server checks the user and skips the server, whether it is away or not, which
#   it cannot know. The policy below makes that leave a warning and an entry in
#   the audit log (validation.policy.admission.k8s.io/validation_failure), and
#   counts it: apiserver_validating_admission_policy_check_total.
#
# Both count once, for the request that sets or changes the reason.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: sallyport-break-glass-outage
  labels: {{- include "sallyport.labels" . | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    matchPolicy: Equivalent
    namespaceSelector: {{ include "sallyport.namespaceSelector" . }}
    objectSelector: {}
    resourceRules: # as of the webhook
    {{- include "sallyport.judged" . | nindent 4 }}
  matchConditions:
  - name: outage # the opposite of the webhook's condition
    expression: >-
      !({{ include "sallyport.noOutage" . | nindent 6 | trim }})
  validations:
  - expression: 'false'
    message: not judged by sallyport, let through by break-glass-outage
    messageExpression: >-
      'not judged by sallyport, let through by break-glass-outage: '
      + object.metadata.annotations['sallyport.dev/break-glass-outage'].trim().replace('\n', ' ').replace('\r', ' ')
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: sallyport-break-glass-outage
  labels: {{- include "sallyport.labels" . | nindent 4 }}
spec:
  policyName: sallyport-break-glass-outage
  validationActions: [Warn, Audit]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: sallyport
  labels: {{- include "sallyport.labels" . | nindent 4 }}
webhooks:
- name: validate.sallyport.dev
  admissionReviewVersions: [v1]
  clientConfig: {{- include "sallyport.client" (list . "/validate") | nindent 4 }}
  rules:
  {{- include "sallyport.judged" . | nindent 2 }}
  matchPolicy: Equivalent # other versions arrive converted
  namespaceSelector: {{ include "sallyport.namespaceSelector" . }}
  objectSelector: {}
  failurePolicy: {{ $profile.failurePolicy }}
  sideEffects: None
  timeoutSeconds: {{ .Values.webhooks.timeoutSeconds }}
  matchConditions:
  {{- include "sallyport.changed" . | nindent 2 }}
  {{- with .Values.egressGateway }}
  {{- if .create }}
  - name: not-of-the-installation # which is applied before anybody is there to answer
    expression: >-
      request.namespace != '{{ .namespace }}'
      || !(request.resource.resource == 'gateways' && request.name == 'egress'
      || request.resource.resource == 'destinationrules' && request.name == 'egress-gateway')
  {{- end }}
  {{- end }}
  - name: no-outage # see above; the authorizer is asked last, since that costs most
    expression: >-
      {{- include "sallyport.noOutage" . | nindent 6 }}
{{- if .Values.webhooks.mutating.enabled }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: sallyport
  labels: {{- include "sallyport.labels" . | nindent 4 }}
# A call costs a millisecond, so that the API server asks one of the two, and only
# where there may be something to do. Both are answered alike. The server adds a
# matchCondition "needed" to the second: as long as no policy has anything to do with
# gateways, waypoints or exportTo, it is not asked.
webhooks:
- name: mutate.sallyport.dev # timeouts and retries, which every policy may fill in
  rules:
  {{- include "sallyport.networking" (list "virtualservices") | nindent 2 }}
  {{- include "sallyport.mutating" . | nindent 2 }}
  matchConditions:
  {{- include "sallyport.changed" . | nindent 2 }}
  - name: something-to-fill-in # an HTTP route without a timeout or retries
    expression: >-
      object.?spec.?http.orValue([]).exists(r, !has(r.timeout) || !has(r.retries))
- name: route.sallyport.dev # ways through gateways and waypoints, and exportTo
  rules:
  {{- include "sallyport.networking" (list "serviceentries" "virtualservices" "destinationrules") | nindent 2 }}
  {{- include "sallyport.mutating" . | nindent 2 }}
  matchConditions:
  {{- include "sallyport.changed" . | nindent 2 }}
  - name: may-lead-out # and is not asked about above
    expression: >-
      request.resource.resource == 'destinationrules'
      ? !has(object.spec.exportTo)
      : request.resource.resource == 'serviceentries'
      || (object.?spec.?hosts.orValue([]).exists(h, h.contains('.'))
      && object.?spec.?http.orValue([]).all(r, has(r.timeout) && has(r.retries)))
{{- end }}
{{ end -}}

{{/* What is judged: the kinds that rules are on. */}}
{{- define "sallyport.judged" -}}
{{ include "sallyport.networking" (list "serviceentries" "virtualservices" "destinationrules" "gateways" "sidecars") }}
- apiGroups: [security.istio.io]
  apiVersions: [v1]
  operations: [CREATE, UPDATE]
  resources: [authorizationpolicies]
  scope: Namespaced
{{- end -}}

{{- define "sallyport.networking" -}}
- apiGroups: [networking.istio.io]
  apiVersions: [v1]
  operations: [CREATE, UPDATE]
  resources: [{{ join ", " . }}]
  scope: Namespaced
{{- end -}}

{{/* What both mutating webhooks have in common. */}}
{{- define "sallyport.mutating" -}}
admissionReviewVersions: [v1]
clientConfig: {{- include "sallyport.client" (list . "/mutate") | nindent 2 }}
matchPolicy: Equivalent
namespaceSelector: {{ include "sallyport.namespaceSelector" . }}
objectSelector: {}
reinvocationPolicy: IfNeeded
failurePolicy: {{ .Values.webhooks.mutating.failurePolicy }} # the validator sees the final state
sideEffects: None
timeoutSeconds: {{ .Values.webhooks.timeoutSeconds }}
{{- end -}}

{{- define "sallyport.client" -}}
{{- $root := index . 0 -}}
service:
  namespace: {{ $root.Release.Namespace }}
  name: sallyport
  path: {{ index . 1 }}
  port: {{ $root.Values.service.port }}
{{- end -}}

{{/* Namespaces by name alone: no label that their owners could set. */}}
{{- define "sallyport.namespaceSelector" -}}
{{- $name := "kubernetes.io/metadata.name" -}}
{{- $all := list -}}
{{- with .Values.webhooks.namespaces -}}
{{- $all = append $all (dict "key" $name "operator" "In" "values" .) -}}
{{- end -}}
{{- with .Values.webhooks.excludedNamespaces -}}
{{- $all = append $all (dict "key" $name "operator" "NotIn" "values" .) -}}
{{- end -}}
{{- if $all }}{{ dict "matchExpressions" $all | toJson }}{{ else }}{}{{ end -}}
{{- end -}}

{{- define "sallyport.changed" -}}
- name: changed # controllers' finalizers and status noise are not asked about
  expression: >-
    request.operation != 'UPDATE'
    || object.?spec != oldObject.?spec
    || object.metadata.?labels != oldObject.metadata.?labels
    || object.metadata.?annotations != oldObject.metadata.?annotations
{{- end -}}

{{/* True unless somebody who may breaks the glass for an outage, in this very request. */}}
{{- define "sallyport.noOutage" -}}
object.metadata.?annotations[?'sallyport.dev/break-glass-outage'].orValue('').trim() == ''
|| size(bytes(object.metadata.annotations['sallyport.dev/break-glass-outage'].trim())) > 1024
|| (request.operation == 'UPDATE'
&& oldObject.metadata.?annotations[?'sallyport.dev/break-glass-outage'].orValue('').trim()
== object.metadata.annotations['sallyport.dev/break-glass-outage'].trim())
|| !authorizer.group('policy.sallyport.dev').resource('egresspolicies').check('breakglass').allowed()
{{- end -}}
