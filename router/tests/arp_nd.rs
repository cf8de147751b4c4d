//! The fuzz target `arp_nd` without the fuzzer: its corpus, and random input.

use proptest::prelude::*;

#[expect(unreachable_pub, reason = "the module belongs to the fuzz crate, which exports it")]
#[path = "../../fuzz/src/arp_nd.rs"]
mod arp_nd;

#[test]
fn every_file_of_the_corpus_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/arp_nd");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        arp_nd::run(&std::fs::read(&path).unwrap());
        files += 1;
    }
    assert!(files >= 10, "{folder} holds {files} files");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_operations_pass(data in prop::collection::vec(any::<u8>(), 0..4000)) {
        arp_nd::run(&data);
    }
}
