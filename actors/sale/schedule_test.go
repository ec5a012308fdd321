package sale

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/salepb"
)

// A line, over live changes and pauses, to the millisecond.
func TestAdmissionIsALine(t *testing.T) {
	w := scheduled(t, salepb.Admission_ADMISSION_FIRST_COME) // 10 a second
	for i := range 1000 {
		w.send(&salepb.Join{CustomerId: fmt.Sprint("usr_", i)}, t0)
	}
	after := func(ms int64) time.Time { return opens.Add(time.Duration(ms) * time.Millisecond) }
	admitted := func(ms int64) int64 { return Admitted(w.s.sale.Schedule, after(ms).UnixMilli()) }
	want := func(ms, n int64) {
		t.Helper()
		if got := admitted(ms); got != n {
			t.Errorf("%d admitted after %d ms, want %d", got, ms, n)
		}
	}
	want(-1, 0)
	want(99, 0)
	want(100, 1)
	want(10_050, 100)
	w.send(&salepb.Control{AdmitPerSecond: proto.Int64(3)}, after(10_050)) // half of the next one is there
	want(10_050, 100)
	want(10_216, 100)
	want(10_217, 101) // 500 + 3 x 167
	w.send(&salepb.Control{Pause: proto.Bool(true)}, after(20_050))
	w.follow(after(20_050))
	want(20_050, 130)
	want(60_000, 130)
	w.send(&salepb.Control{AdmitPerSecond: proto.Int64(100)}, after(50_000)) // kept for when it goes on
	want(60_000, 130)
	w.send(&salepb.Control{Pause: proto.Bool(false)}, after(60_000))
	w.follow(after(60_000))
	want(60_995, 230)
	want(70_000, 1000) // nobody beyond those who have joined
	if turn := TurnOf(w.s.sale.Schedule, 300, after(60_000).UnixMilli()); turn.Admitted || turn.WaitMs != 1695 {
		t.Errorf("number 300: %+v", turn)
	}
	if turn := TurnOf(w.s.sale.Schedule, 300, after(61_695).UnixMilli()); !turn.Admitted || turn.WaitMs != 0 {
		t.Errorf("number 300 in its turn: %+v", turn)
	}
}

// A room that was empty for an hour lets in one second's worth of the crowd
// that comes then, whoever computes it, however old their schedule is.
func TestAnEmptyRoomSavesUpLittle(t *testing.T) {
	w := scheduled(t, salepb.Admission_ADMISSION_FIRST_COME)
	w.send(&salepb.Join{CustomerId: "first"}, opens)
	late := opens.Add(9 * time.Minute)
	old := proto.CloneOf(w.s.sale.Schedule)
	for i := range 100 {
		w.send(&salepb.Join{CustomerId: fmt.Sprint("crowd", i)}, late)
	}
	for name, c := range map[string]*salepb.Schedule{"now": w.s.sale.Schedule, "old": old} {
		in := 0
		for n := range int64(101) {
			if TurnOf(c, n+1, late.UnixMilli()).Admitted {
				in++
			}
		}
		if in != 11 {
			t.Errorf("%s: %d are in at once, want the first and ten", name, in)
		}
	}
}

func TestTurnsAroundTheOpening(t *testing.T) {
	w := scheduled(t, salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING)
	for i := range 20 {
		w.send(&salepb.Join{CustomerId: fmt.Sprint("usr_", i)}, t0)
	}
	if turn := TurnOf(w.s.sale.Schedule, 1, t0.UnixMilli()); turn.Admitted || turn.WaitMs != time.Minute.Milliseconds() {
		t.Errorf("before the opening: %+v", turn)
	}
	w.send(&salepb.Join{CustomerId: "late"}, opens)
	c := w.s.sale.Schedule
	seen := map[int64]bool{}
	for n := int64(1); n <= 20; n++ {
		seen[Position(c, n)] = true
	}
	if len(seen) != 20 || seen[0] || seen[21] || Position(c, 21) != 21 {
		t.Errorf("positions %v, the late one has %d", seen, Position(c, 21))
	}
	w.send(&salepb.Control{End: true}, opens)
	if turn := TurnOf(w.s.sale.Schedule, 1, ends.UnixMilli()-1); turn.Admitted || turn.WaitMs != -1 {
		t.Errorf("after the end: %+v", turn)
	}
}

func secretOf(n int) []byte {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
	return sum[:]
}

func TestPermuteIsABijection(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 15, 16, 17, 255, 256, 257, 1000, 4096} {
		for key := range 3 {
			seen := make([]bool, n)
			for x := range n {
				y := Permute(secretOf(key), x, n)
				if y >= n || seen[y] {
					t.Fatalf("n %d, key %d: %d goes to %d, which is taken or not there", n, key, x, y)
				}
				seen[y] = true
			}
		}
	}
}

// Golden, computed by another program: whoever verifies a sale of the past computes the same.
func TestPermuteStays(t *testing.T) {
	var got []uint64
	for x := range uint64(8) {
		got = append(got, Permute(secretOf(1), x, 1000))
	}
	if want := "[312 858 500 821 131 635 804 248]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// Chi-squared, with fixed secrets: every place is as likely for everybody, and
// so is every order of three.
func TestPermuteIsFair(t *testing.T) {
	const secrets, n = 1200, 10
	var places [n][n]float64
	orders := map[string]float64{}
	for key := range secrets {
		for x := range uint64(n) {
			places[x][Permute(secretOf(key), x, n)]++
		}
		orders[fmt.Sprint(Permute(secretOf(key), 0, 3), Permute(secretOf(key), 1, 3))]++
	}
	for x, counts := range places {
		if chi := chiSquared(counts[:], secrets/n); chi > 27.9 { // 9 degrees of freedom, p = 0.001
			t.Errorf("number %d: chi-squared %.1f over %v", x, chi, counts)
		}
	}
	var counts []float64
	for _, n := range orders {
		counts = append(counts, n)
	}
	if chi := chiSquared(counts, secrets/6.0); len(orders) != 6 || chi > 20.5 { // 5 degrees
		t.Errorf("orders of three: chi-squared %.1f over %v", chi, orders)
	}
	// In a large room the early do not fare better than the late: the correlation of number and place is noise.
	const large = 20_000
	var sum float64
	for x := range uint64(large) {
		sum += (float64(x)/large - .5) * (float64(Permute(secretOf(7), x, large))/large - .5)
	}
	if r := 12 * sum / large; math.Abs(r) > 3.3/math.Sqrt(large) {
		t.Errorf("correlation %.4f", r)
	}
}

func chiSquared(counts []float64, want float64) (chi float64) {
	for _, n := range counts {
		chi += (n - want) * (n - want) / want
	}
	return chi
}

// A hundred thousand wait: what they cost in memory and in a snapshot.
func TestAHundredThousandWait(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	s := scheduled(t, salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING).s
	before := heapInUse()
	join(t, s, n)
	each := float64(heapInUse()-before) / float64(n)
	snapshot := Snapshot(s)
	size := proto.Size(snapshot)
	t.Logf("%d wait: %.1f bytes each in memory, snapshot %d bytes", n, each, size)
	if each > 64 || size > 17*n+4096 || 17*MaxWaiting+4096 > 8<<20 {
		t.Errorf("%.1f bytes each, snapshot %d bytes", each, size)
	}
	b, err := proto.Marshal(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = Restore("sal_1", b); err != nil {
		t.Fatal(err)
	}
	if d := Decide(s, &salepb.Join{CustomerId: "usr_77"}, t0, nil); d.Reply.(*salepb.JoinReply).GetNumber() != 78 {
		t.Errorf("after a restart: %v", d.Reply)
	}
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func join(t testing.TB, s *State, n int) {
	for i := range n {
		d := Decide(s, &salepb.Join{CustomerId: fmt.Sprint("usr_", i)}, t0, nil)
		if len(d.Events) != 1 {
			t.Fatalf("customer %d: %v", i, d.Reply)
		}
		Evolve(s, d.Events[0])
	}
}

func BenchmarkJoin(b *testing.B) {
	s := scheduled(b, salepb.Admission_ADMISSION_FIRST_COME).s
	n := 0
	for b.Loop() {
		if n == MaxWaiting {
			b.StopTimer()
			s, n = scheduled(b, salepb.Admission_ADMISSION_FIRST_COME).s, 0
			b.StartTimer()
		}
		d := Decide(s, &salepb.Join{CustomerId: fmt.Sprint("usr_", n)}, t0, nil)
		Evolve(s, d.Events[0])
		n++
	}
}

func BenchmarkTurnInAShuffledRoom(b *testing.B) {
	c := &salepb.Schedule{
		Admission: salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING, Opened: true, Joined: 100_000, JoinedEarly: 100_000, ShuffleSecret: secretOf(1),
		PerSecond: 10, AdmitPerSecond: 10, FromMs: 1, StartsAtMs: 1, EndsAtMs: math.MaxInt64,
	}
	for b.Loop() {
		TurnOf(c, 77_777, 1000)
	}
}
