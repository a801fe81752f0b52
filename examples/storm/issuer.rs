//! The authorization server's rules, without a socket: what it issues, what it still accepts, and whether a refresh was
//! needed. Time comes in as an argument: the time since the server started.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};

/// Issues tokens and remembers all of them.
pub(crate) struct Issuer {
    life: Duration,
    early: Duration,
    /// Two requests, the one that got a token and the one that replaces it, travel for different times: each opens a
    /// connection of its own, and the machine is busy. By this much the second may look too early.
    travel: Duration,
    /// The wall clock when the server started, since 1970.
    epoch: Duration,
    /// Signs access tokens and makes up refresh tokens. std's keyed SipHash keeps a demonstration honest; it is no
    /// cryptographic signature, and 64 bits are no refresh token for the world outside.
    key: RandomState,
    /// By their `jti`.
    access_tokens: Vec<AccessToken>,
    refresh_tokens: HashMap<String, Grant>,
    families: Vec<Family>,
}

struct AccessToken {
    family: usize,
    life: Duration,
    /// When the request for it came in. The client counts the token's life from before it asked; so does the judgement
    /// of whether the next request was early.
    asked_at: Duration,
    expires_at: Duration,
    revoked: bool,
}

struct Grant {
    family: usize,
    spent: bool,
    /// The server is to blame if it comes again: it never answered.
    lost: bool,
}

/// All tokens that go back to one login.
struct Family {
    alive: bool,
    newest: Option<usize>,
    /// The newest never got to the client.
    lost: bool,
}

/// Why a refresh was needed, as the server sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// The login has had no access token yet.
    First,
    /// The newest one had been revoked.
    Revoked,
    /// The newest one had come to its last part, or to its end.
    Age,
    /// The newest one never got to the client.
    Lost,
    /// None that the server can see.
    None,
}

/// A refresh token that has been accepted, and spent by that.
#[derive(Debug)]
pub(crate) struct Redeemed {
    family: usize,
    asked_at: Duration,
    pub(crate) need: Need,
    /// How much of its life the replaced token had lived.
    pub(crate) share_lived: Option<f64>,
}

/// What goes to the client.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

/// `invalid_grant`, why, and whose fault it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InvalidGrant(pub(crate) &'static str, pub(crate) Blame);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Blame {
    Client,
    /// It has spent the refresh token and never answered.
    Server,
}

const UNKNOWN_TOKEN: InvalidGrant = InvalidGrant("unknown refresh token", Blame::Client);
const UNKNOWN_LOGIN: InvalidGrant = InvalidGrant("unknown login", Blame::Client);

/// Why an access token is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refused(pub(crate) &'static str);

impl Issuer {
    /// `early`: how long before its end a token may be replaced; zero if not before it is dead.
    pub(crate) fn new(life: Duration, early: Duration, epoch: Duration) -> Self {
        Issuer {
            life,
            early,
            travel: Duration::from_millis(20),
            epoch,
            key: RandomState::new(),
            access_tokens: Vec::new(),
            refresh_tokens: HashMap::new(),
            families: Vec::new(),
        }
    }

    /// With another allowance for what requests need on their way.
    pub(crate) fn with_travel(self, travel: Duration) -> Self {
        Issuer { travel, ..self }
    }

    /// A login: the first refresh token of a new family.
    pub(crate) fn log_in(&mut self) -> String {
        self.families.push(Family { alive: true, newest: None, lost: false });
        self.new_refresh_token(self.families.len() - 1)
    }

    /// The same with an access token, as an interactive login ends.
    pub(crate) fn log_in_with_token(&mut self, now: Duration) -> Result<Issued, InvalidGrant> {
        let first = self.log_in();
        let redeemed = self.redeem(&first, now)?;
        self.issue(&redeemed, now)
    }

    /// Takes a refresh token for a new pair. It is spent by that; whoever brings it a second time has stolen it, or has
    /// been stolen from, and the whole family dies (RFC 9700 section 4.14.2).
    pub(crate) fn redeem(&mut self, refresh_token: &str, now: Duration) -> Result<Redeemed, InvalidGrant> {
        let grant = self.refresh_tokens.get_mut(refresh_token).ok_or(UNKNOWN_TOKEN)?;
        let family = self.families.get_mut(grant.family).ok_or(UNKNOWN_LOGIN)?;
        if !family.alive {
            return Err(InvalidGrant("the login has ended", Blame::Client));
        }
        if std::mem::replace(&mut grant.spent, true) {
            family.alive = false;
            let blame = if grant.lost { Blame::Server } else { Blame::Client };
            return Err(InvalidGrant("the refresh token was used before: the login has ended", blame));
        }
        grant.lost = false;
        let was_lost = std::mem::replace(&mut family.lost, false);
        let (family, newest) = (grant.family, family.newest.and_then(|jti| self.access_tokens.get(jti)));
        Ok(Redeemed {
            family,
            asked_at: now,
            need: match newest {
                None => Need::First,
                Some(_) if was_lost => Need::Lost,
                Some(token) => self.need_to_replace(token, now),
            },
            share_lived: newest.map(|token| now.saturating_sub(token.asked_at).div_duration_f64(token.life)),
        })
    }

    /// The answer to this refresh token is lost, with all that was issued for it. With `grace`, it is good once more, as
    /// servers do that know the trouble.
    pub(crate) fn lose(&mut self, refresh_token: &str, grace: bool) {
        if let Some(grant) = self.refresh_tokens.get_mut(refresh_token) {
            (grant.spent, grant.lost) = (!grace, true);
            if let Some(family) = self.families.get_mut(grant.family) {
                family.lost = true;
            }
        }
    }

    /// The access token that came with this refresh token is unusable for the client; the refresh token itself is not.
    pub(crate) fn waste(&mut self, new_refresh_token: &str) {
        let family = self.refresh_tokens.get(new_refresh_token).map(|grant| grant.family);
        if let Some(family) = family.and_then(|family| self.families.get_mut(family)) {
            family.lost = true;
        }
    }

    /// All logins end, as when users withdraw their consent: what was issued is dead.
    pub(crate) fn end_logins(&mut self) {
        self.families.iter_mut().for_each(|family| family.alive = false);
    }

    fn need_to_replace(&self, token: &AccessToken, now: Duration) -> Need {
        let in_last_part = || now.saturating_sub(token.asked_at) + self.travel + self.early >= token.life;
        if token.revoked {
            Need::Revoked
        } else if now >= token.expires_at || (!self.early.is_zero() && in_last_part()) {
            Need::Age
        } else {
            Need::None
        }
    }

    /// The new pair.
    pub(crate) fn issue(&mut self, redeemed: &Redeemed, now: Duration) -> Result<Issued, InvalidGrant> {
        self.issue_for(self.life, redeemed, now)
    }

    /// The new pair, with an access token of which nothing is left.
    pub(crate) fn issue_expired(&mut self, redeemed: &Redeemed, now: Duration) -> Result<Issued, InvalidGrant> {
        self.issue_for(Duration::from_millis(1), redeemed, now)
    }

    fn issue_for(&mut self, life: Duration, redeemed: &Redeemed, now: Duration) -> Result<Issued, InvalidGrant> {
        let family = self.families.get_mut(redeemed.family).ok_or(UNKNOWN_LOGIN)?;
        if !family.alive {
            return Err(InvalidGrant("the login ended meanwhile", Blame::Client));
        }
        let jti = self.access_tokens.len();
        let expires_at = now + life;
        family.newest = Some(jti);
        self.access_tokens.push(AccessToken {
            family: redeemed.family,
            life,
            asked_at: redeemed.asked_at,
            expires_at,
            revoked: false,
        });
        let (iat, exp) = ((self.epoch + now).as_secs_f64(), (self.epoch + expires_at).as_secs_f64());
        // "SIP13" is nobody's registered algorithm: nobody but this server shall verify these tokens.
        let header = json!({ "alg": "SIP13", "typ": "JWT" });
        let claims = json!({ "iss": "storm", "jti": jti, "iat": iat, "exp": exp });
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = BASE64URL.encode(self.key.hash_one(&signed).to_be_bytes());
        Ok(Issued {
            access_token: format!("{signed}.{signature}"),
            refresh_token: self.new_refresh_token(redeemed.family),
        })
    }

    fn new_refresh_token(&mut self, family: usize) -> String {
        let number = self.refresh_tokens.len();
        let token = format!("rt{number}-{:016x}", self.key.hash_one(("refresh", number)));
        self.refresh_tokens.insert(token.clone(), Grant { family, spent: false, lost: false });
        token
    }

    /// Does the API accept this access token now?
    pub(crate) fn check(&self, access_token: &str, now: Duration) -> Result<(), Refused> {
        let claims = self.claims(access_token)?;
        let token = claims.get("jti").and_then(Value::as_u64).and_then(|jti| self.access_tokens.get(jti as usize));
        let (Some(token), Some(exp)) = (token, claims.get("exp").and_then(Value::as_f64)) else {
            return Err(Refused("unknown token"));
        };
        if (self.epoch + now).as_secs_f64() >= exp {
            return Err(Refused("the token has expired"));
        }
        let alive = self.families.get(token.family).is_some_and(|family| family.alive);
        if token.revoked || !alive { Err(Refused("the token was revoked")) } else { Ok(()) }
    }

    fn claims(&self, access_token: &str) -> Result<Value, Refused> {
        let (signed, signature) = access_token.rsplit_once('.').ok_or(Refused("not a JWT"))?;
        if BASE64URL.encode(self.key.hash_one(signed).to_be_bytes()) != signature {
            return Err(Refused("wrong signature"));
        }
        signed.split_once('.').and_then(|(_, claims)| decode(claims)).ok_or(Refused("no claims"))
    }

    /// Revokes this access token, if it is one.
    pub(crate) fn revoke_this(&mut self, access_token: &str) {
        let jti = self.claims(access_token).ok().and_then(|claims| claims.get("jti")?.as_u64());
        if let Some(token) = jti.and_then(|jti| self.access_tokens.get_mut(jti as usize)) {
            token.revoked = true;
        }
    }

    /// Revokes the access token issued last. False if no access token is valid.
    pub(crate) fn revoke(&mut self, now: Duration) -> bool {
        match self.access_tokens.last_mut() {
            Some(token) if !token.revoked && now < token.expires_at => {
                token.revoked = true;
                true
            }
            _ => false,
        }
    }
}

fn encode(value: &Value) -> String {
    BASE64URL.encode(value.to_string())
}

fn decode(part: &str) -> Option<Value> {
    serde_json::from_slice(&BASE64URL.decode(part).ok()?).ok()
}
