//! What strongSwan's log tells about IKE: which exchanges it took part in.

use std::collections::BTreeMap;

/// IKE requests by exchange type (`IKE_SA_INIT`, `IKE_AUTH`, `CREATE_CHILD_SA`,
/// `INFORMATIONAL`), sent and received together. Retransmissions are not counted.
pub type ExchangeCounts = BTreeMap<String, u32>;

/// Counts the exchanges in a piece of the log: requests that the daemon generated and requests
/// that it parsed.
///
/// A line of interest reads `… 09[ENC] <gw|1> generating IKE_AUTH request 1 [ IDi … ]`; a
/// retransmission shows as `[IKE] retransmit …` and generates nothing. Fragments (`[ EF(1/2) ]`) have
/// lines of their own beside that of their message.
#[must_use]
pub fn exchanges(log: &str) -> ExchangeCounts {
    let mut counts = ExchangeCounts::new();
    let whole = |line: &&str| line.contains("[ENC]") && !line.contains("[ EF(");
    for line in log.lines().filter(whole) {
        let mut words =
            line.split_whitespace().skip_while(|w| *w != "generating" && *w != "parsed");
        let (_, kind, what) = (words.next(), words.next(), words.next());
        if let (Some(kind), Some("request")) = (kind, what) {
            *counts.entry(kind.to_owned()).or_default() += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
16:40:01.123 09[ENC] <gw|1> generating IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) ]
16:40:01.130 10[ENC] <gw|1> parsed IKE_SA_INIT response 0 [ SA KE No ]
16:40:01.131 10[ENC] <gw|1> generating IKE_AUTH request 1 [ IDi N(INIT_CONTACT) ]
16:40:01.131 10[ENC] <gw|1> generating IKE_AUTH request 1 [ EF(1/2) ]
16:40:01.131 10[ENC] <gw|1> generating IKE_AUTH request 1 [ EF(2/2) ]
16:40:05.131 10[IKE] <gw|1> retransmit 1 of request with message ID 1
16:40:31.131 11[ENC] <gw|1> parsed INFORMATIONAL request 0 [ ]
16:40:31.131 11[ENC] <gw|1> generating INFORMATIONAL response 0 [ ]
";

    #[test]
    fn requests_are_counted_and_responses_fragments_and_retransmissions_are_not() {
        let counts = exchanges(LOG);
        let expected = [("IKE_SA_INIT", 1), ("IKE_AUTH", 1), ("INFORMATIONAL", 1)];
        let expected = expected.map(|(kind, count)| (kind.to_owned(), count));
        assert_eq!(counts, ExchangeCounts::from(expected));
    }
}
