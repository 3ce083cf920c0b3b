//! Every sample, for other programs.

use crate::results::Row;
use serde_json::{Value, json};

/// The text of the file. `failure` is what ended the measurement early.
pub fn text(rows: &[Row], rounds: usize, failure: Option<&str>) -> String {
    let rows: Vec<Value> = rows.iter().map(row).collect();
    format!("{:#}\n", json!({ "rounds": rounds, "failure": failure, "rows": rows }))
}

fn row(row: &Row) -> Value {
    let samples: Vec<Value> = row
        .samples
        .iter()
        .map(|samples| {
            // As text: a number of 64 bits is more than many readers of JSON keep.
            let checksums: Vec<String> = samples.checksums.iter().map(|sum| format!("{sum:016x}")).collect();
            let mut value = json!({
                "who": samples.who,
                "values": samples.values,
                "checksums": checksums,
                "seconds_by_guest": samples.by_guest,
            });
            if !samples.empty.is_empty() {
                value["empty"] = json!(samples.empty);
            }
            value
        })
        .collect();
    json!({ "form": row.form.to_string(), "name": row.name, "unit": row.unit.symbol(), "samples": samples })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Form;
    use crate::results::{Group, Unit};

    #[test]
    fn what_is_written_can_be_read() {
        let mut row = Row::new(Form::Sv39, "fib", Unit::Seconds, Group::Kernel);
        row.add("hostel", 0.5).checksums.push(u64::MAX);
        row.add("qemu", -0.5).empty.push(0.25);
        let read: Value = serde_json::from_str(&text(&[row], 3, Some("no"))).unwrap();
        assert_eq!(read["failure"], "no");
        assert_eq!(read["rows"][0]["samples"][0]["empty"], Value::Null);
        assert_eq!(read["rows"][0]["samples"][1]["empty"][0], 0.25);
        assert_eq!(read["rows"][0]["samples"][1]["values"][0], -0.5);
        assert_eq!(read["rounds"], 3);
        assert_eq!(read["rows"][0]["form"], "sv39");
        assert_eq!(read["rows"][0]["samples"][0]["values"][0], 0.5);
        assert_eq!(read["rows"][0]["samples"][0]["checksums"][0], "ffffffffffffffff");
    }
}
