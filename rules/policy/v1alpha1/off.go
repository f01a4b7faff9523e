// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"encoding/json"
	"errors"
	"fmt"
)

// UnmarshalJSON implements [json.Unmarshaler]. Its error helps with the value
// that YAML readers, kubectl's among them, take for false unless it is quoted.
func (a *Action) UnmarshalJSON(data []byte) error {
	return unmarshalQuoted(data, "action", (*string)(a))
}

// UnmarshalJSON implements [json.Unmarshaler], as that of [Action] does.
func (m *Mode) UnmarshalJSON(data []byte) error { return unmarshalQuoted(data, "mode", (*string)(m)) }

// UnmarshalJSON implements [json.Unmarshaler]. Its error is about the word that YAML
// readers take for false, which is not what was written.
func (a *MaxAction) UnmarshalJSON(data []byte) error {
	if string(data) == "false" {
		return errors.New("maxAction: must be Warn or Audit, not false, for which YAML takes a bare Off")
	}
	return json.Unmarshal(data, (*string)(a))
}

func unmarshalQuoted(data []byte, field string, value *string) error {
	switch string(data) {
	case "false":
		return fmt.Errorf(`%s: must be a string, not false: write "Off" in quotation marks, since YAML takes a bare Off for false`, field)
	case "true":
		return fmt.Errorf("%s: must be a string, not true", field)
	}
	return json.Unmarshal(data, value)
}
