//! The fuzzer's corpus, replayed without the fuzzer.

#[expect(unreachable_pub, reason = "the module belongs to the fuzz crate, which exports it")]
#[path = "../../fuzz/src/frame_parser.rs"]
mod frame_parser;

#[test]
fn every_file_of_the_corpus_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/frame_parser");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        frame_parser::run(&std::fs::read(&path).unwrap());
        files += 1;
    }
    assert!(files >= 24, "{folder} holds {files} files");
}
