package sums

import (
	"math"
	"testing"
)

func TestAnEntryIsANameAndANumber(t *testing.T) {
	for payload, expected := range map[string]int64{"ada 12": 12, " ada\t-3\n": -3, "ada 9223372036854775807": math.MaxInt64} {
		if name, number, ok := Entry([]byte(payload)); !ok || name != "ada" || number != expected {
			t.Errorf("%q: %q %d %t", payload, name, number, ok)
		}
	}
	for _, payload := range []string{
		"", "ada", "ada twelve", "ada 1.5", "ada 1_0", "ada 12 13", "ada -", "ada 9999999999999999999", "\xff 1",
	} {
		if name, number, ok := Entry([]byte(payload)); ok {
			t.Errorf("%q: %q %d", payload, name, number)
		}
	}
}

func TestASumThatIsTooLargeStopsGrowing(t *testing.T) {
	for _, sum := range [][3]int64{
		{12, 30, 42},
		{math.MaxInt64, 1, math.MaxInt64},
		{-math.MaxInt64, -1, -math.MaxInt64},
		{-math.MaxInt64, -math.MaxInt64, -math.MaxInt64},
	} {
		if found := Add(sum[0], sum[1]); found != sum[2] {
			t.Errorf("%d: %d", sum, found)
		}
	}
}
