package main

import (
	"math"
	"testing"
)

func TestAmountsAreConvertedExactly(t *testing.T) {
	for text, want := range map[string]struct {
		units int64
		nanos int32
	}{
		"12.50":                         {12, 500_000_000},
		"0.29":                          {0, 290_000_000},
		"7":                             {7, 0},
		"0.000000001":                   {0, 1},
		"1.05":                          {1, 50_000_000},
		"9223372036854775807.999999999": {math.MaxInt64, 999_999_999},
	} {
		got, err := parseAmount(text)
		if err != nil || got.GetUnits() != want.units || got.GetNanos() != want.nanos {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", ".", "1.", ".5", "-1", "+1", "1e3", "1,50", " 1", "1\n", "NaN", "0x1", "1.2.3", "٣", "1.0000000001",
		"9223372036854775808",
	} {
		if got, err := parseAmount(text); err == nil {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
}
