{{/* What the profile says, unless the values say otherwise. Values hold whole: they are not
merged, so that an empty one counts too. */}}
{{- define "sallyport.profile" -}}
{{- $profile := .Files.Get (printf "profiles/%s.yaml" .Values.profile) | fromYaml -}}
{{- range $key := keys $profile -}}
{{- if hasKey $.Values $key -}}
{{- $_ := set $profile $key (get $.Values $key) -}}
{{- end -}}
{{- end -}}
{{- toYaml $profile -}}
{{- end -}}

{{- define "sallyport.labels" -}}
app.kubernetes.io/name: sallyport
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "sallyport.selectorLabels" -}}
app.kubernetes.io/name: sallyport
{{- end -}}

{{- define "sallyport.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The Configuration that the server reads. */}}
{{- define "sallyport.configuration" -}}
{{- $mesh := deepCopy .Values.mesh -}}
{{- with .Values.egressGateway -}}
{{- if and .create (not (hasKey $mesh "egressGateways")) -}}
{{- $domain := $mesh.clusterDomain | default "cluster.local" -}}
{{- $gateway := dict "name" "default" "gateway" (printf "%s/egress" .namespace) "service" (printf "%s.%s.svc.%s" .service .namespace $domain) "selector" .selector -}}
{{- $_ := set $mesh "egressGateways" (list $gateway) -}}
{{- end -}}
{{- end -}}
{{- with .Values.waypoint -}}
{{- if and .create (not (hasKey $mesh "waypoints")) -}}
{{- $_ := set $mesh "waypoints" (list (printf "%s/%s" .namespace .name)) -}}
{{- end -}}
{{- end -}}
apiVersion: config.sallyport.dev/v1alpha1
kind: Configuration
mesh: {{- toYaml $mesh | nindent 2 }}
{{- end -}}
