//! The lines of Rust that serve each provider, as they stand on the page: what is between a function's head and its last
//! line. `RefreshToken` is a stand-in here, which sends to the test's server what is meant for the provider's.

use std::time::Duration;

use ureq_auth::{Policy, Session, SessionBuilder};

use super::codes::{DeadLogin, refusal};
use super::stand_in::RefreshToken;

/// What a program knows of itself and of its user.
#[derive(Clone, Copy)]
pub(super) struct App {
    pub(super) client_id: &'static str,
    pub(super) client_secret: &'static str,
    pub(super) refresh_token: &'static str,
}

pub(super) type Lines = fn(App) -> SessionBuilder;

/// Each with the name of its file of answers.
pub(super) const PROVIDERS: [(&str, Lines); 31] = [
    ("amazon", amazon),
    ("apigee", apigee),
    ("atlassian", atlassian),
    ("auth0", auth0),
    ("box", box_com),
    ("deviantart", deviantart),
    ("discord", discord),
    ("dropbox", dropbox),
    ("ebay", ebay),
    ("entra", entra),
    ("exact", exact),
    ("fitbit", fitbit),
    ("github", github),
    ("gitlab", gitlab),
    ("google", google),
    ("hubspot", hubspot),
    ("intuit", intuit),
    ("keycloak", keycloak),
    ("linkedin", linkedin),
    ("netatmo", netatmo),
    ("okta", okta),
    ("reddit", reddit),
    ("salesforce", salesforce),
    ("slack", slack),
    ("spotify", spotify),
    ("strava", strava),
    ("twitch", twitch),
    ("x", x),
    ("xero", xero),
    ("zoho", zoho),
    ("zoom", zoom),
];

fn amazon(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://api.amazon.com/auth/o2/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body();
    Session::builder(source)
}

fn apigee(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://api.example.com/oauth/token", client_id, refresh_token)
        .client_secret(client_secret)
        .token_type("BearerToken");
    Session::builder(source)
}

fn atlassian(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let grant = RefreshToken::new("https://auth.atlassian.com/oauth/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body();
    let source = DeadLogin { grant, says: &[("unauthorized_client", "refresh_token is invalid")] };
    Session::builder(source)
}

fn auth0(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://my-tenant.auth0.com/oauth/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body();
    Session::builder(source)
}

fn box_com(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://api.box.com/oauth2/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body();
    Session::builder(source)
}

fn deviantart(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let grant = RefreshToken::new("https://www.deviantart.com/oauth2/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body();
    let source = DeadLogin { grant, says: &[("invalid_request", "refresh_token is invalid")] };
    Session::builder(source)
}

fn discord(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://discord.com/api/oauth2/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body();
    Session::builder(source)
}

fn dropbox(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://api.dropboxapi.com/oauth2/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body();
    Session::builder(source)
}

fn ebay(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://api.ebay.com/identity/v1/oauth2/token", client_id, refresh_token)
        .client_secret(client_secret)
        .token_type("User Access Token");
    Session::builder(source)
}

fn entra(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let url = "https://login.microsoftonline.com/organizations/oauth2/v2.0/token";
    let source = RefreshToken::new(url, client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body()
        .scope("https://graph.microsoft.com/.default offline_access");
    Session::builder(source)
}

fn exact(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let grant = RefreshToken::new("https://start.exactonline.nl/api/oauth2/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body();
    let source = DeadLogin {
        grant,
        says: &[("unauthorized_client", "Old refresh token used"), ("invalid_request", "The refresh token expired")],
    };
    let policy = Policy::new().with_stale_window(5, Duration::from_secs(25)).with_spread(0);
    Session::builder(source).policy(policy)
}

fn fitbit(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://api.fitbit.com/oauth2/token", client_id, refresh_token)
        .client_secret(client_secret)
        .configure(|config| config.middleware(refusal("/errors/0/errorType", "invalid_grant")));
    Session::builder(source)
}

fn github(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://github.com/login/oauth/access_token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body();
    Session::builder(source)
}

fn gitlab(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://gitlab.com/oauth/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body()
        .param("redirect_uri", "https://app.example.com/callback");
    Session::builder(source)
}

fn google(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://oauth2.googleapis.com/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body();
    Session::builder(source)
}

fn hubspot(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://api.hubapi.com/oauth/2026-09/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body()
        .configure(|config| config.middleware(refusal("/status", "BAD_REFRESH_TOKEN")));
    Session::builder(source)
}

fn intuit(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let url = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer";
    let source = RefreshToken::new(url, client_id, refresh_token).client_secret(client_secret);
    Session::builder(source)
}

fn keycloak(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let url = "https://id.example.com/realms/my-realm/protocol/openid-connect/token";
    let source = RefreshToken::new(url, client_id, refresh_token).client_secret(client_secret);
    Session::builder(source)
}

fn linkedin(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://www.linkedin.com/oauth/v2/accessToken", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body();
    Session::builder(source)
}

fn netatmo(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://api.netatmo.com/oauth2/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body();
    Session::builder(source)
}

fn okta(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://my-org.okta.com/oauth2/default/v1/token", client_id, refresh_token)
        .client_secret(client_secret)
        .scope("openid offline_access");
    Session::builder(source)
}

fn reddit(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://www.reddit.com/api/v1/access_token", client_id, refresh_token)
        .client_secret(client_secret)
        .configure(|config| {
            config.user_agent("linux:com.example.reader:1.0 (by /u/example)").middleware(refusal("/error", 400))
        });
    Session::builder(source)
}

fn salesforce(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://login.salesforce.com/services/oauth2/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body();
    Session::builder(source)
}

fn slack(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://slack.com/api/oauth.v2.access", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body()
        .token_type("bot");
    Session::builder(source)
}

fn spotify(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://accounts.spotify.com/api/token", client_id, refresh_token)
        .client_secret(client_secret);
    Session::builder(source)
}

fn strava(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://www.strava.com/oauth/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body()
        .configure(|config| config.middleware(refusal("/errors/0/resource", "RefreshToken")));
    Session::builder(source).policy(Policy::new().with_spread(0))
}

fn twitch(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://id.twitch.tv/oauth2/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body()
        .configure(|config| config.middleware(refusal("/message", "Invalid refresh token")));
    Session::builder(source)
}

fn x(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let grant =
        RefreshToken::new("https://api.x.com/2/oauth2/token", client_id, refresh_token).client_secret(client_secret);
    let source = DeadLogin { grant, says: &[("invalid_request", "Value passed for the token was invalid")] };
    Session::builder(source)
}

fn xero(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let source = RefreshToken::new("https://identity.xero.com/connect/token", client_id, refresh_token)
        .client_secret(client_secret);
    Session::builder(source)
}

fn zoho(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let grant = RefreshToken::new("https://accounts.zoho.eu/oauth/v2/token", client_id, refresh_token)
        .client_secret(client_secret)
        .secret_in_body();
    let source = DeadLogin { grant, says: &[("invalid_code", "")] };
    let policy = Policy::new().with_refusals(10, Duration::from_secs(600));
    Session::builder(source).policy(policy)
}

fn zoom(App { client_id, client_secret, refresh_token }: App) -> SessionBuilder {
    let url = "https://zoom.us/oauth/token";
    let source = RefreshToken::new(url, client_id, refresh_token).client_secret(client_secret);
    Session::builder(source)
}
