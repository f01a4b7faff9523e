// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// confineArg makes the test binary the one that confines itself and becomes another.
const confineArg = "confine"

// TestConfinedVersion: the binary needs nothing in the image but itself.
func TestConfinedVersion(t *testing.T) {
	var out bytes.Buffer
	cmd := confined(t, "version")
	cmd.Stdout = &out
	cmd.Stderr = &out
	require.NoError(t, <-start(t, cmd), &out)
	require.Contains(t, out.String(), stamp)
}

// TestConfinedServe: as the process 1 of a container whose root is empty and cannot be
// written to, as nobody, without any capability and any way to get one, the server gets
// ready, and ends well when it is told to.
func TestConfinedServe(t *testing.T) {
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer log.Close()
	cmd := confined(t, "serve", "--standalone", "--listen", "127.0.0.1:0", "--listen-probes", "127.0.0.1:0")
	cmd.Stderr = log
	done := start(t, cmd)
	logged := func() string {
		data, err := os.ReadFile(log.Name())
		require.NoError(t, err)
		return string(data)
	}
	eventually := func(condition func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(20 * time.Millisecond) {
			select {
			case err := <-done:
				require.FailNow(t, "It ended", "%v: %s", err, logged())
			default:
				require.True(t, time.Now().Before(deadline), logged())
			}
		}
	}
	var started struct{ Msg, Version, Probes string }
	eventually(func() bool {
		line, _, whole := strings.Cut(logged(), "\n")
		return whole && json.Unmarshal([]byte(line), &started) == nil && started.Msg == "Started"
	})
	require.Equal(t, stamp, started.Version)
	eventually(func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+started.Probes+"/readyz", http.NoBody)
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
	})
	requireConfined(t, cmd.Process.Pid)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-done, logged())
}

// requireConfined asks the kernel what the process may do.
func requireConfined(t *testing.T, pid int) {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	data, err := os.ReadFile(filepath.Join(proc, "status"))
	require.NoError(t, err)
	status := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		status[key] = strings.Fields(value)
	}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		require.Equal(t, []string{"0000000000000000"}, status[set], set)
	}
	require.Equal(t, []string{"1"}, status["NoNewPrivs"])
	// In a user namespace, what it is there is who we are here.
	uid, gid := user, user
	if os.Geteuid() != 0 {
		uid, gid = os.Geteuid(), os.Getegid()
	} else {
		require.Empty(t, status["Groups"])
	}
	for key, id := range map[string]int{"Uid": uid, "Gid": gid} {
		is := strconv.Itoa(id)
		require.Equal(t, []string{is, is, is, is}, status[key], key) // real, effective, saved, of files
	}
	require.Equal(t, []string{strconv.Itoa(pid), "1"}, status["NSpid"])

	mounts, err := os.ReadFile(filepath.Join(proc, "mountinfo"))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(mounts), "\n"), "%s", mounts)
	entries, err := os.ReadDir(filepath.Join(proc, "root"))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, "sallyport", entries[0].Name())
	require.ErrorIs(t, os.WriteFile(filepath.Join(proc, "root", "file"), nil, 0o600), unix.EROFS)
	require.ErrorIs(t, os.Chmod(filepath.Join(proc, "root", "sallyport"), 0o777), unix.EROFS)
}

// confined returns the image's binary, to be run in new namespaces: the test binary is
// started there and becomes it.
func confined(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, append([]string{confineArg, t.TempDir(), build(t, runtime.GOARCH)}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		// Whoever is not root loses them when it starts a program.
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP}
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getegid(), Size: 1}}
	}
	return cmd
}

// start starts a command, and returns what tells how it ends.
func start(t *testing.T, cmd *exec.Cmd) <-chan error {
	t.Helper()
	err := cmd.Start()
	require.NoError(t, err, "namespaces need CAP_SYS_ADMIN, or a kernel that lets others make user namespaces "+
		"(user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns) and a container whose seccomp profile does; this is uid %d", os.Geteuid())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return done
}

// confine makes the binary all that there is, gives up everything and becomes it. It
// runs in namespaces of its own, and returns only if something fails.
func confine(dir, binary string, args []string) error {
	// Capabilities are a thread's.
	runtime.LockOSThread()
	if err := enter(dir, binary); err != nil {
		return err
	}
	if err := giveUp(); err != nil {
		return err
	}
	err := unix.Exec("/sallyport", append([]string{"/sallyport"}, args...), nil)
	return fmt.Errorf("run the binary: %w", err)
}

// enter makes a root of the folder, with nothing in it but the binary.
func enter(dir, binary string) error {
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"keep mounts to ourselves", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"mount a tmpfs", func() error { return unix.Mount("tmpfs", dir, "tmpfs", flags, "mode=0755") }},
		{"copy the binary", func() error { return os.WriteFile(filepath.Join(dir, "sallyport"), data, 0o755) }},
		{"make the root read-only", func() error { return unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY|flags, "mode=0755") }},
		{"enter the root", func() error { return unix.Chdir(dir) }},
		// The old root comes to lie upon the new one (pivot_root(2), "pivot_root(".", ".")").
		{"change the root", func() error { return unix.PivotRoot(".", ".") }},
		{"leave the old root", func() error { return unix.Unmount(".", unix.MNT_DETACH) }},
		{"go to the root", func() error { return unix.Chdir("/") }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s, which needs CAP_SYS_ADMIN and a container that lets mount: %w", step.name, err)
		}
	}
	return nil
}

// giveUp drops privileges, and the ways to get them back.
func giveUp() error {
	for capability := uintptr(0); ; capability++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // there are no more
		}
		if err != nil {
			return fmt.Errorf("drop capability %d for ever: %w", capability, err)
		}
	}
	if os.Geteuid() == 0 { // else the user namespace has made us nobody
		if err := errors.Join(unix.Setgroups(nil), unix.Setresgid(user, user, user), unix.Setresuid(user, user, user)); err != nil {
			return fmt.Errorf("become uid %d: %w", user, err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData // of 32 capabilities each
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("renounce new privileges: %w", err)
	}
	return nil
}
