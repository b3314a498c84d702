//! What a file says of itself, its origin and its preprocessing, goes on from file to file.

mod common;

use common::{linear, onebit, pack};
use onebit_model::file::Weights;
use onebit_model::{ChannelOrder, Preprocessing, Resize, Verified};
use serde_json::json;

#[test]
fn what_a_file_says_of_itself_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [plain, first, second, onnx, third] =
        ["plain.onebit", "a.onebit", "b.onebit", "b.onnx", "c.onebit"].map(path);
    let mut weights = linear(&["a", "b"], [3, 4, 4], |_, value| value as f32).into_inner();
    let resize = Resize::Exact([20, 24]);
    let channel_order = ChannelOrder::Bgr;
    weights.graph.preprocessing =
        Preprocessing { resize, channel_order, ..Preprocessing::default() };
    pack(plain.as_ref(), &Verified::<Weights>::new(weights).expect("weights"));
    onebit(&["pack", &plain, "-o", &first, "--licence", "MIT", "--authors", "me"]).succeeded();
    onebit(&["pack", &first, "-o", &second, "--authors", "us", "--source", "a paper"]).succeeded();
    onebit(&["export", &second, "-o", &onnx]).succeeded();
    let import =
        ["import", &onnx, "-o", &third, "--description", "again", "--mean=-1", "--std", "2"];
    onebit(&import).succeeded();
    let inspect = |path: &str| onebit(&["inspect", path, "--json"]).json();
    let [before, after] = [inspect(&first), inspect(&third)];
    assert_eq!(
        after["origin"],
        json!({"licence": "MIT", "authors": "us", "source": "a paper", "description": "again"})
    );
    assert_eq!(after["preprocessing"], before["preprocessing"]);
    assert_eq!(after["preprocessing"]["channel_order"], "bgr");
    assert_eq!(
        (&after["mean"], &after["std"]),
        (&json!([-1.0, -1.0, -1.0]), &json!([2.0, 2.0, 2.0]))
    );
}
