//! ECN and DSCP at the tunnel's ends (RFC 6040, normal mode; RFC 4301 section 5.1.2): the outer
//! header gets both from the inner one, the inner one keeps its DSCP and takes congestion marks
//! over.

const ECN: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// The outer traffic class of a packet with this inner one.
pub(crate) fn encapsulate(inner: u8) -> u8 {
    inner
}

/// The inner traffic class after decapsulation; `None` when the packet must be dropped, because it
/// met congestion and its transport would not understand the mark (RFC 6040 figure 4).
//= RFC 7296 section 2.24 #1: full functionality
pub(crate) fn decapsulate(inner: u8, outer: u8) -> Option<u8> {
    let ecn = match (inner & ECN, outer & ECN) {
        (NOT_ECT, CE) => return None,
        (NOT_ECT, _) => NOT_ECT,
        (CE, _) | (_, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        (other, _) => other,
    };
    Some(inner & !ECN | ecn)
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 7296 section 2.24 #1: full functionality
    #[test]
    fn decapsulation_is_figure_4_of_rfc_6040() {
        // Rows: inner Not-ECT, ECT(0), ECT(1), CE; columns: outer likewise.
        let order = [NOT_ECT, ECT_0, ECT_1, CE];
        let figure = [
            [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None],
            [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)],
            [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)],
            [Some(CE), Some(CE), Some(CE), Some(CE)],
        ];
        for (row, &inner) in figure.iter().zip(&order) {
            for (&expected, &outer) in row.iter().zip(&order) {
                assert_eq!(decapsulate(inner, outer), expected);
                let with_dscp = decapsulate(0xb8 | inner, outer);
                assert_eq!(with_dscp, expected.map(|ecn| 0xb8 | ecn), "DSCP stays");
            }
        }
        assert_eq!(encapsulate(0xba), 0xba);
    }
}
