// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

var publicSuffix = &analysis.Rule{
	Name:     "serviceentry/public-suffix",
	Severity: analysis.Error,
	Doc: `wildcards must not cover names that anyone can register

A wildcard says whom data may be sent to. Below a public suffix, such as "com",
"co.uk", "github.io" or "s3.amazonaws.com", anyone can have a name within
minutes, so a wildcard there lets data out to anyone. The same is true of
domains with such suffixes further below: "*.amazonaws.com" matches every
bucket of every customer.

The rule goes by the Public Suffix List, both the part of the registries
(ICANN) and the part of companies that give out names (PRIVATE). It sees no
service that is not on the list. The part before the first dot of a partial
wildcard does not help: "*foo.com" matches "evilfoo.com". Wildcards below the
cluster domain and the mesh's internalSuffixes are left alone.

List the exact hosts, or a wildcard below a name that is yours, as
"*.my-bucket.s3.amazonaws.com". An allowed wildcard in a policy does not waive
this rule; only an exemption does.`,
	Run: analysis.On(checkPublicSuffix),
}

func checkPublicSuffix(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	for i, h := range se.Spec.GetHosts() {
		name := host.Normal(h)
		if !host.IsWildcard(name) || host.Internal(name, &pass.Config.Mesh, nil) {
			continue
		}
		detail := ""
		switch suffix := host.PublicSuffix(name); {
		case suffix == "":
			continue
		case suffix == ".", name == "*."+suffix && !strings.Contains(suffix, "."):
			detail = "must not match a whole top-level domain, even if a policy allows it; list the exact hosts that are needed"
		default:
			detail = fmt.Sprintf("must not match names that anyone can register, as below '%s', even if a policy allows it; list the exact hosts that are needed", suffix)
		}
		pass.Report(field.Invalid(hostsPath.Index(i), h, detail))
	}
}
