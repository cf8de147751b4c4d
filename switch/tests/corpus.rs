//! The fuzzer's corpus, replayed without the fuzzer.
#![cfg(not(loom))]

#[expect(unreachable_pub, reason = "the module belongs to the fuzz crate, which exports it")]
#[path = "../../fuzz/src/fdb_operations.rs"]
mod fdb_operations;

#[test]
fn every_file_of_the_corpus_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/fdb_operations");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        fdb_operations::run(&std::fs::read(&path).unwrap());
        files += 1;
    }
    assert!(files >= 12, "{folder} holds {files} files");
}
