//! The server: what it answers to whom.

use std::os::unix::fs::PermissionsExt;

use node::api::server;
use node::client::Client;

use super::rig::Node;

#[test]
fn requests_that_make_no_sense_get_a_sentence() {
    let node = Node::start("");
    let cases = [
        ("GET /v1/nonsense", "404", "there is no such path"),
        ("GET /v1/ports/a/b/c", "404", "there is no such path"),
        ("PUT /v1/ports", "405", "the path is for GET, POST only"),
        ("DELETE /v1/status", "405", "the path is for GET only"),
        ("GET /v1/fdb?port=x", "400", "there is no parameter \\\"port\\\" here"),
        ("GET /v1/fdb?dev=x", "404", "there is no port \\\"x\\\""),
        ("DELETE /v1/fdb/nonsense", "400", "not a MAC address"),
        ("POST /v1/ports", "400", "the body cannot be understood"),
    ];
    for (request, status, sentence) in cases {
        let answer = node.raw(&format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(
            answer.contains(&format!("{{\"error\":\"{sentence}")) || answer.contains(sentence),
            "{request}: {answer}"
        );
    }
    let body = "{\"name\":\"x\",\"colour\":\"red\"}";
    let answer = node.raw(&format!(
        "POST /v1/ports HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(answer.contains("unknown field `colour`"), "{answer}");
    let long = "x".repeat(70_000);
    let answer = node.raw(&format!(
        "POST /v1/ports HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{long}",
        long.len()
    ));
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let answer = node.raw(&format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(20_000)));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[test]
fn health_and_metrics_are_answered() {
    let node = Node::start("");
    node.add_pod(10);
    let get = |path: &str| node.raw(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
    assert!(get("/healthz").ends_with("flyover is running\n"));
    let page = get("/metrics");
    for line in [
        "# TYPE flyover_drops_total counter",
        "flyover_ready 1",
        "flyover_drops_total{stage=\"egress\",reason=\"egress_mtu\"} 0",
        "flyover_port_up{port=\"p10\"} 1",
        "flyover_fdb_entries{kind=\"static\"} 2",
        "flyover_worker_frames_total{worker=\"0\",kind=\"received\"} 0",
    ] {
        assert!(page.contains(&format!("{line}\n")), "{line} is not in\n{page}");
    }
}

#[test]
fn the_socket_is_the_owner_s_alone_and_a_stale_one_is_replaced() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("sub/api.sock");
    let listener = server::bind(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(server::bind(&path).unwrap_err().to_string().contains("another process listens"));
    drop(listener);
    server::bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    assert!(server::bind(&path).unwrap_err().to_string().contains("not a socket"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn without_a_daemon_the_socket_is_named_in_one_line() {
    let error = Client::new("/nonexistent/f.sock").status().unwrap_err().to_string();
    assert!(error.starts_with("no flyover daemon answers at /nonexistent/f.sock: "), "{error}");
    assert!(!error.contains('\n'));
}
