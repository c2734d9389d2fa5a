//! Several runs of a workload in one sitting: the median of each figure, and how far throughput was spread. Machines are
//! shared, and one run alone says little.

use serde_json::{Map, Value, json};

use super::round;

/// The runs' documents as one: strings are those of the first, figures are medians, and true is what always was.
pub(super) fn median(documents: &[Value]) -> Value {
    let of = |index: &str| {
        documents.iter().filter_map(|document| document.get(index).cloned()).collect::<Vec<_>>()
    };
    match documents.first() {
        Some(Value::Object(first)) => {
            Value::Object(first.keys().map(|key| (key.clone(), median(&of(key)))).collect::<Map<_, _>>())
        }
        Some(Value::Array(first)) => {
            let nth = |index: usize| -> Vec<Value> {
                documents.iter().filter_map(|document| document.get(index).cloned()).collect()
            };
            (0..first.len()).map(|index| median(&nth(index))).collect()
        }
        Some(Value::Number(first)) => {
            let mut figures: Vec<f64> = documents.iter().filter_map(Value::as_f64).collect();
            figures.sort_by(f64::total_cmp);
            let middle = figures.len() / 2;
            match figures.len() % 2 {
                // Of an odd number of runs the median is a figure that was measured.
                1 if first.is_u64() => documents
                    .iter()
                    .find(|document| document.as_f64() == Some(figures[middle]))
                    .cloned()
                    .unwrap_or(Value::Null),
                1 => json!(figures[middle]),
                _ => json!(round(f64::midpoint(figures[middle - 1], figures[middle]))),
            }
        }
        Some(Value::Bool(_)) => json!(documents.iter().all(|document| *document == true)),
        Some(first) => first.clone(),
        None => Value::Null,
    }
}

/// The least and the most of a figure.
pub(super) fn spread(documents: &[Value], of: &str) -> (f64, f64) {
    let figures = documents.iter().filter_map(|document| document[of].as_f64());
    figures.fold((f64::INFINITY, 0.0), |(least, most), figure| (least.min(figure), most.max(figure)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_medians_and_words_are_those_of_the_first() {
        let of = |rate: f64, jobs: u64, p50: f64| json!({"workload": "noop", "rate": rate, "jobs": jobs, "ms": {"p50": p50}});
        let three = [of(3.0, 10, 0.5), of(1.0, 10, 0.1), of(2.0, 10, 0.3)];
        assert_eq!(median(&three), of(2.0, 10, 0.3));
        assert_eq!(median(&three[..2])["rate"], 2.0);
        assert_eq!(median(&three[..1]), three[0]);
        let rows = |rate: f64, kept: bool| json!([{"rate": rate, "kept": kept}]);
        assert_eq!(median(&[rows(3.0, true), rows(1.0, false), rows(2.0, true)]), rows(2.0, false));
        assert_eq!(spread(&three, "rate"), (1.0, 3.0));
    }
}
