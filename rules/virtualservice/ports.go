// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"slices"

	"github.com/sallyport-dev/sallyport/rules/internal/route"
)

// A portSet is a set of port numbers. The zero value is empty.
type portSet struct {
	all     bool
	numbers map[uint32]bool
}

func (s *portSet) has(number uint32) bool { return s.all || s.numbers[number] }

func (s *portSet) add(other portSet) {
	s.all = s.all || other.all
	for number := range other.numbers {
		s.addNumber(number)
	}
}

// addNumber adds a port; zero stands for all.
func (s *portSet) addNumber(number uint32) {
	if number == 0 {
		s.all = true
		return
	}
	if s.numbers == nil {
		s.numbers = map[uint32]bool{}
	}
	s.numbers[number] = true
}

type portMatch interface {
	GetGateways() []string
	GetPort() uint32
}

// portsOfMatches returns the ports on which sidecars apply a route with the
// matches, of which none at all are all ports.
func portsOfMatches[M portMatch](matches []M) portSet {
	set := portSet{all: len(matches) == 0}
	for _, m := range matches {
		if gateways := m.GetGateways(); len(gateways) == 0 || slices.Contains(gateways, route.Mesh) {
			set.addNumber(m.GetPort())
		}
	}
	return set
}
