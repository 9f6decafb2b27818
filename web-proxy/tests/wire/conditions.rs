//! Conditions against the validators that a script gives its answer.

use test_support::client::{Client, Framing};
use test_support::fastcgi_app::FakeFastCgiApp;
use test_support::gate::Gate;

use crate::support::Proxy;

#[tokio::test]
async fn what_the_client_has_is_not_sent_again_and_the_script_goes_on() {
    let (gate, after) = (Gate::new(), Gate::new());
    let app = {
        let (gate, after) = (gate.clone(), after.clone());
        FakeFastCgiApp::tcp(move |mut exchange| {
            let (gate, after) = (gate.clone(), after.clone());
            async move {
                exchange.stdout("Content-Type: text/html\r\nETag: \"a\"\r\nVary: Cookie\r\n\r\npage").await?;
                gate.pass().await;
                // What PHP does after its output: nobody may have hung up.
                exchange.stdout("more").await?;
                exchange.end().await?;
                after.open();
                Ok(())
            }
        })
        .await
        .unwrap()
    };
    let proxy = Proxy::start(&app.address(), &[]).await;
    let mut client = Client::connect(proxy.address).await.unwrap();
    let response = client.request("GET", "/x", &[("If-None-Match", "W/\"a\"")], b"").await.unwrap();
    assert_eq!((response.status, response.framing), (304, Framing::None));
    assert_eq!((response.header("etag"), response.header("vary")), (Some("\"a\""), Some("Cookie")));
    assert_eq!(response.header("content-type"), None);
    gate.open();
    after.pass().await;
    // The same connection goes on, and another tag gets the page.
    let response = client.request("GET", "/x", &[("If-None-Match", "\"b\"")], b"").await.unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "pagemore"));
    proxy.metric_becomes("web_proxy_fastcgi_in_flight", 0.0).await;
}
