// SPDX-License-Identifier: Apache-2.0

package fire

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// A caller calls one server as the API server does.
type caller struct {
	server *pod
	client *http.Client
	body   []byte
}

func newCaller(t *testing.T, server *pod) *caller {
	t.Helper()
	client, err := kubernetes.NewForConfig(controlPlane.Config)
	require.NoError(t, err)
	conf, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), "sallyport", metav1.GetOptions{})
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(conf.Webhooks[0].ClientConfig.CABundle))
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13},
		MaxIdleConnsPerHost: 200,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &caller{server: server, client: &http.Client{Transport: transport}, body: heavyReview(t)}
}

// heavyReview is about an object that takes the server far longer to judge than us to
// send.
func heavyReview(t *testing.T) []byte {
	t.Helper()
	var hosts []any
	for i := range 4000 {
		hosts = append(hosts, fmt.Sprintf("host-%d.example.com", i))
	}
	entry := serviceEntry(false)
	entry.Object["spec"].(map[string]any)["hosts"] = hosts
	object, err := entry.MarshalJSON()
	require.NoError(t, err)
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "flood", Namespace: "default", Operation: admissionv1.Create, DryRun: new(true),
			Kind:   metav1.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: "ServiceEntry"},
			Object: runtime.RawExtension{Raw: object},
		},
	})
	require.NoError(t, err)
	return body
}

// A reply is the status of an answer, 0 if there was none, and how long it took.
type reply struct {
	status int
	took   time.Duration
}

func (c *caller) call(ctx context.Context) reply {
	begun := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.server.URL+"/validate?timeout=3s", bytes.NewReader(c.body))
	if err != nil {
		return reply{}
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.client.Do(req)
	if err != nil {
		return reply{took: time.Since(begun)}
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return reply{status: res.StatusCode, took: time.Since(begun)}
}

// closedLoop calls with so many callers at a time, each after its answer.
func (c *caller) closedLoop(ctx context.Context, callers int, d time.Duration) []reply {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var group sync.WaitGroup
	replies := make([][]reply, callers)
	for i := range callers {
		group.Go(func() {
			for ctx.Err() == nil {
				replies[i] = append(replies[i], c.call(context.WithoutCancel(ctx)))
			}
		})
	}
	group.Wait()
	return slices.Concat(replies...)
}

// mostInFlight is how many requests an API server handles at a time
// (--max-requests-inflight and --max-mutating-requests-inflight): so it never has more
// calls under way.
const mostInFlight = 600

// openLoop calls at a rate, whatever becomes of the calls before, as long as an API
// server would.
func (c *caller) openLoop(ctx context.Context, rate int, d time.Duration) []reply {
	var group sync.WaitGroup
	var mu sync.Mutex
	var replies []reply
	places := make(chan struct{}, mostInFlight)
	begun := time.Now()
	for sent := 0; time.Since(begun) < d; {
		for due := int(time.Since(begun).Seconds() * float64(rate)); sent < due; sent++ {
			select {
			case places <- struct{}{}:
			default:
				continue // the API server itself refuses it
			}
			group.Go(func() {
				defer func() { <-places }()
				r := c.call(ctx)
				mu.Lock()
				defer mu.Unlock()
				replies = append(replies, r)
			})
		}
		time.Sleep(time.Millisecond)
	}
	group.Wait()
	return replies
}

func withStatus(replies []reply, status int) []reply {
	return slices.DeleteFunc(slices.Clone(replies), func(r reply) bool { return r.status != status })
}

func statuses(replies []reply) map[int]int {
	counts := map[int]int{}
	for _, r := range replies {
		counts[r.status]++
	}
	return counts
}

func p99(replies []reply) time.Duration {
	slices.SortFunc(replies, func(a, b reply) int { return int(a.took - b.took) })
	return replies[len(replies)*99/100].took
}

// TestOverload (R13): at ten times what a server can do, it does what it can, the
// rest is refused at once and counted, and nothing piles up.
func TestOverload(t *testing.T) {
	// It has one processor, and those who call it another.
	server, err := sallyport.Run(t.Context(), controlPlane, "overloaded", sallyport.Options{Env: []string{"GOMAXPROCS=1"}})
	require.NoError(t, err)
	defer func() { require.NoError(t, server.Stop()) }()
	c := newCaller(t, &pod{Server: server})
	require.Eventually(t, func() bool { return isReady(t.Context(), c.server) }, time.Minute, probeEvery)
	const d = 4 * time.Second
	c.closedLoop(t.Context(), 8, time.Second)
	cpuBefore := c.cpuTime(t)
	capacity := len(withStatus(c.closedLoop(t.Context(), 8, d), http.StatusOK))
	require.Positive(t, capacity)
	perSecond := float64(capacity) / (c.cpuTime(t) - cpuBefore).Seconds()
	quickBefore, allBefore := c.judged(t)
	shedBefore, memoryBefore := c.metric(t, "sallyport_shed_total"), c.peakMemory(t)

	cpuBefore = c.cpuTime(t)
	replies := c.openLoop(t.Context(), 10*capacity/int(d.Seconds()), d)
	served, shed := withStatus(replies, http.StatusOK), withStatus(replies, http.StatusServiceUnavailable)
	goodput := float64(len(served)) / (c.cpuTime(t) - cpuBefore).Seconds()
	grown := c.peakMemory(t) - memoryBefore
	t.Logf("capacity %d in %v; of %d calls %d served, %d shed, %v by status, p99 of those served %v; peak memory grew by %d MiB",
		capacity, d, len(replies), len(served), len(shed), statuses(replies), p99(served).Round(time.Millisecond), grown>>20)
	t.Logf("by second of the server's processor: capacity %.0f, goodput %.0f", perSecond, goodput)
	late := withStatus(replies, http.StatusRequestTimeout)
	// Whose body is late loses the connection, and may not get to read why.
	unanswered := len(replies) - len(served) - len(shed) - len(late)
	require.LessOrEqual(t, unanswered, len(replies)/50, "%v", statuses(replies))
	// By its processor, since the callers take processors too, where there are few.
	require.Greater(t, goodput, perSecond/2, "refusals are not free, but cheap")
	require.Greater(t, len(shed), len(replies)/2)
	quick, all := c.judged(t)
	const heldUp = 2 // by others on the machine, which counts where few are served
	require.GreaterOrEqual(t, quick-quickBefore, (all-allBefore)*0.99-heldUp, "reviews that took the server less than a second")
	require.InDelta(t, len(shed), c.metric(t, "sallyport_shed_total")-shedBefore, float64(len(shed))/100)
	require.Less(t, grown, int64(512<<20))
	require.Equal(t, http.StatusOK, c.call(t.Context()).status, "it is over")
}

// metric returns the sum of a metric's series. The name is a regular expression.
func (c *caller) metric(t *testing.T, name string) float64 {
	t.Helper()
	text, err := c.server.Scrape(t.Context(), controlPlane.Config)
	require.NoError(t, err)
	var sum float64
	for _, match := range regexp.MustCompile(`(?m)^`+name+`(?:\{.*\})? (\S+)$`).FindAllStringSubmatch(text, -1) {
		value, err := strconv.ParseFloat(match[1], 64)
		require.NoError(t, err)
		sum += value
	}
	return sum
}

// judged returns how many reviews the server has answered within a second, and in all.
func (c *caller) judged(t *testing.T) (quick, all float64) {
	t.Helper()
	return c.metric(t, `sallyport_admission_duration_seconds_bucket{.*le="1"}`), c.metric(t, "sallyport_admission_duration_seconds_count")
}

// peakMemory returns how many bytes the server has ever had in memory.
func (c *caller) peakMemory(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.server.PID()))
	require.NoError(t, err)
	match := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(t, match)
	kilobytes, err := strconv.ParseInt(string(match[1]), 10, 64)
	require.NoError(t, err)
	return kilobytes << 10
}

// cpuTime returns for how long the server has had a processor.
func (c *caller) cpuTime(t *testing.T) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.server.PID()))
	require.NoError(t, err)
	// proc_pid_stat(5): after the name, utime and stime are the 12th and 13th, in hundredths.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func (c *caller) openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.server.PID()))
	require.NoError(t, err)
	return len(files)
}

// TestNothingLeaks: whatever callers do, when they are gone nothing is left of them.
func TestNothingLeaks(t *testing.T) {
	c := newCaller(t, servers.pods[0])
	address := strings.TrimPrefix(c.server.URL, "https://")
	dial := func() net.Conn {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		require.NoError(t, err)
		return conn
	}
	hangUp := func() { // in the middle of a review
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
		defer cancel()
		c.call(ctx)
	}
	speakNonsense := func() {
		conn := dial()
		_, _ = conn.Write([]byte("POST /validate HTTP/1.1\r\n\r\n"))
		require.NoError(t, conn.Close())
	}
	saySomethingShort := func() {
		conn := tls.Client(dial(), c.client.Transport.(*http.Transport).TLSClientConfig.Clone())
		_, _ = conn.Write([]byte("POST /validate HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{"))
		require.NoError(t, conn.NetConn().Close())
	}
	use := func(times int) {
		for range times {
			hangUp()
			speakNonsense()
			saySomethingShort()
			c.call(t.Context())
			c.client.CloseIdleConnections()
		}
	}
	use(20)
	c.client.CloseIdleConnections()
	time.Sleep(time.Second)
	goroutines, files := c.metric(t, "go_goroutines"), c.openFiles(t)
	use(400)
	assert.EventuallyWithT(t, func(ct *assert.CollectT) {
		assert.LessOrEqual(ct, c.metric(t, "go_goroutines"), goroutines+10)
		assert.LessOrEqual(ct, c.openFiles(t), files+10)
	}, 30*time.Second, 200*time.Millisecond)
	t.Logf("goroutines %v, then %v; files %d, then %d", goroutines, c.metric(t, "go_goroutines"), files, c.openFiles(t))
}
