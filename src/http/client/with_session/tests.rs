use std::time::Duration;

use ureq::config::IpFamily;

use super::*;
use crate::Token;

fn session() -> Session {
    Session::new(|_: Option<&Token>| Ok(Token::new("a-token")?)).unwrap()
}

/// Every setting differs from ureq's own, so that one that is not copied shows.
fn odd(config: ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope> {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let config = config
        .http_status_as_error(false)
        .https_only(true)
        .ip_family(IpFamily::Ipv4Only)
        .proxy(Some(ureq::Proxy::new("http://proxy.example:3128").unwrap()))
        .no_delay(false)
        .max_redirects_will_error(false)
        .redirect_auth_headers(ureq::config::RedirectAuthHeaders::SameHost)
        .save_redirect_history(true)
        .user_agent("mine")
        .accept("text/plain")
        .accept_encoding("identity")
        .timeout_global(seconds(1))
        .timeout_per_call(seconds(2))
        .timeout_resolve(seconds(3))
        .timeout_connect(seconds(4))
        .timeout_send_request(seconds(5))
        .timeout_await_100(seconds(6))
        .timeout_send_body(seconds(7))
        .timeout_recv_response(seconds(8))
        .timeout_recv_body(seconds(9))
        .timeout_per_read(seconds(10))
        .timeout_per_write(seconds(11))
        .max_response_header_size(1234)
        .input_buffer_size(2345)
        .output_buffer_size(3456)
        .max_idle_connections(4567)
        .max_idle_connections_per_host(5678)
        .max_idle_age(Duration::from_secs(12))
        .allow_non_standard_methods(true);
    #[cfg(feature = "rustls")]
    let config = config.tls_config(ureq::tls::TlsConfig::builder().use_sni(false).build());
    config
}

#[cfg(not(feature = "cookies"))]
#[test]
fn a_client_with_another_session_has_all_settings_of_the_first() {
    let base = Client::builder(session()).origin("https://api.example.com").configure(odd).build().unwrap();
    let other = base.with_session(session()).unwrap();
    let settings = |client: &Client| {
        let config = client.agent().config();
        // What its Debug leaves out. The middlewares are what differs.
        let rest = (config.max_redirects_will_error(), config.allow_non_standard_methods());
        let headers = (config.accept().clone(), config.accept_encoding().clone());
        let shown = format!("{config:?}");
        let (before, after) = shown.split_once("MiddlewareChain").unwrap();
        format!("{before} {} {rest:?} {headers:?}", after.split_once('}').unwrap().1)
    };
    assert_eq!(settings(&other), settings(&base));
    let again = other.with_session(session()).unwrap();
    assert!(Arc::ptr_eq(&again.0.base.as_ref().unwrap().0, &base.0), "the pool is one hop away");
}

#[test]
fn a_shared_cookie_jar_is_an_error() {
    let base = Client::builder(session()).origin("https://api.example.com").configure(odd).build().unwrap();
    let error = base.with_session(session()).err().map(|error| error.to_string());
    assert_eq!(error.is_some(), cfg!(feature = "cookies"), "{error:?}");
}
