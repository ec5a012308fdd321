package money

import "strings"

// The ISO 4217 currencies that people pay with (no funds codes, metals or test
// codes), by their number of decimals.
const (
	decimals0 = " BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF "
	decimals2 = " AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD" +
		" EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA" +
		" MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS" +
		" SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG "
	decimals3 = " BHD IQD JOD KWD LYD OMR TND "
)

// Exponent is how many decimals a currency has; false if there is no such currency.
func Exponent(currency string) (int, bool) {
	switch currency {
	case "EUR", "USD", "GBP":
		return 2, true
	}
	if len(currency) != 3 || strings.Contains(currency, " ") {
		return 0, false
	}
	for exponent, codes := range [...]string{0: decimals0, 2: decimals2, 3: decimals3} {
		if strings.Contains(codes, " "+currency+" ") {
			return exponent, true
		}
	}
	return 0, false
}
