//! The orders of the tour: good ones, the same ones again, some that must wait, some that can never be good. What
//! they are worth is known beforehand, so that it can be counted afterwards. Pure.

use serde_json::json;

/// The maximum that `site-settings` gives when no key says another.
const MAX_AMOUNT_CENTS: u64 = 1_000_000;
/// Share of special orders: one in so many of each kind.
const ONE_IN: u32 = 500;
/// Who orders.
const CUSTOMERS: [&str; 7] = ["ada", "bob", "cleo", "dora", "emil", "fay", "gus"];

/// All orders, in the order in which they are pushed.
pub(super) struct Orders {
    /// What is pushed.
    pub(super) payloads: Vec<Vec<u8>>,
    /// Orders that are to be booked, each once.
    pub(super) good: u64,
    /// Of the good ones, those above the maximum: they wait until it is raised.
    pub(super) above: u64,
    /// Good orders that are pushed a second time.
    pub(super) twice: u64,
    /// Orders that can never be booked.
    pub(super) bad: u64,
    /// What the good ones are worth.
    pub(super) worth_cents: u64,
}

impl Orders {
    /// `count` good orders and their company, the same at every call.
    pub(super) fn new(count: u32) -> Self {
        let special = count / ONE_IN;
        let mut payloads = Vec::new();
        let mut worth_cents = 0;
        for number in 0..count {
            let above = number < special;
            let amount_cents =
                if above { MAX_AMOUNT_CENTS + 1 } else { 100 + u64::from(number) * 7919 % 9000 };
            let customer = CUSTOMERS[number as usize % CUSTOMERS.len()];
            let id = format!("A-{number:06}");
            let order = json!({ "id": id, "customer": customer, "amount_cents": amount_cents }).to_string();
            if number >= count - special {
                payloads.push(order.clone().into_bytes());
            }
            payloads.push(order.into_bytes());
            worth_cents += amount_cents;
        }
        for number in 0..special {
            payloads.push(format!("order number {number}, as a letter").into_bytes());
            payloads
                .push(json!({ "id": format!("B-{number}"), "amount_cents": 100 }).to_string().into_bytes());
            payloads.push(
                json!({ "id": format!("C-{number}"), "customer": "hal", "amount_cents": -5 })
                    .to_string()
                    .into_bytes(),
            );
        }
        // The orders that wait come first: they have tried once when the maximum is raised. The rest is mixed.
        let waiting = special as usize;
        fastrand::Rng::with_seed(7).shuffle(&mut payloads[waiting..]);
        Self {
            payloads,
            good: u64::from(count),
            above: u64::from(special),
            twice: u64::from(special),
            bad: u64::from(special) * 3,
            worth_cents,
        }
    }

    /// Everything that is pushed.
    pub(super) fn pushed(&self) -> u64 {
        self.payloads.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_company_is_counted() {
        let orders = Orders::new(1000);
        assert_eq!((orders.good, orders.above, orders.twice, orders.bad), (1000, 2, 2, 6));
        assert_eq!(orders.pushed(), orders.good + orders.twice + orders.bad);
        assert_eq!(orders.payloads, Orders::new(1000).payloads);
    }
}
