//! The fuzz target `pipeline_step` without the fuzzer: its corpus, and random input.
#![cfg(not(loom))]

use proptest::prelude::*;

#[expect(unreachable_pub, reason = "the module belongs to the fuzz crate, which exports it")]
#[path = "../../fuzz/src/pipeline_step/mod.rs"]
mod pipeline_step;

#[test]
fn every_file_of_the_corpus_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/pipeline_step");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        pipeline_step::run(&std::fs::read(&path).unwrap());
        files += 1;
    }
    assert!(files >= 10, "{folder} holds {files} files");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn random_steps_pass(data in prop::collection::vec(any::<u8>(), 0..1500)) {
        pipeline_step::run(&data);
    }
}
