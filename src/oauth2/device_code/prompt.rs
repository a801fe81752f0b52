//! The first answer of a device login (RFC 8628 §3.2): what the user is shown.

use std::fmt;
use std::time::Duration;

use super::super::answer::Answer;
use crate::SourceError;
use crate::json;
use crate::token::Secret;

/// Between two polls, where the server names no interval (RFC 8628 §3.2), and what `slow_down` adds to it (§3.5).
pub(super) const FIVE_SECONDS: Duration = Duration::from_secs(5);

/// How long a code lives whose life the server does not tell, and at most. (`expires_in` is required, RFC 8628 §3.2.)
const USUAL_LIFE: Duration = Duration::from_secs(1800);
const MAX_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What the user has to be shown (RFC 8628 §3.3). Its `Display` is a sentence that says it all, in English.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DevicePrompt {
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: Duration,
}

/// The answer to a device authorization request (RFC 8628 §3.2).
pub(crate) struct Authorization {
    pub(crate) device_code: Secret,
    pub(crate) prompt: DevicePrompt,
    pub(crate) interval: Duration,
}

impl Authorization {
    pub(crate) fn read(answer: &Answer<'_>) -> Result<Self, SourceError> {
        answer.success()?;
        let unusable = |what: &str| {
            Err(SourceError::misconfigured(format!(
                "the device authorization endpoint's answer has no usable {what}: is this its address?"
            )))
        };
        // `verification_url` is Google's name for it.
        let names =
            "device_code user_code verification_uri verification_url verification_uri_complete expires_in interval";
        let Some([device_code, user_code, uri, url, complete, expires_in, interval]) =
            json::read_members(answer.body, names)
        else {
            return unusable("members");
        };
        let Some(mut device_code) = device_code.secret() else { return unusable("device_code") };
        let Some(user_code) = user_code.text().filter(|text| is_printable(text)) else { return unusable("user_code") };
        let Some(verification_uri) = uri.text().or(url.text()).filter(|uri| is_web_address(uri)) else {
            return unusable("verification_uri");
        };
        let prompt = DevicePrompt {
            user_code,
            verification_uri,
            verification_uri_complete: complete.text().filter(|uri| is_web_address(uri)),
            expires_in: expires_in.lifetime().unwrap_or(USUAL_LIFE).min(MAX_LIFE),
        };
        let device_code = Secret::new(std::mem::take(&mut *device_code));
        // Zero counts as not given: nobody wants to be polled without a pause.
        let interval = interval.lifetime().unwrap_or(FIVE_SECONDS).min(MAX_LIFE);
        Ok(Authorization { device_code, prompt, interval })
    }
}

/// What is shown on a terminal must not be able to steer it, to hide a part of itself or to reorder what stands around it.
/// Printable ASCII cannot, and RFC 8628 §6.1 wants codes that any keyboard can enter.
fn is_printable(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_graphic()) && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// What is shown as an address, or opened in a browser, must be one of the web.
fn is_web_address(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let is_web =
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http"));
    is_web && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl DevicePrompt {
    /// The code that the user enters, such as `WDJB-MJHT`. Show it as it is: it is printable ASCII, and an answer with
    /// any other code is refused.
    pub fn user_code(&self) -> &str {
        &self.user_code
    }

    /// The address where the user enters it, on whatever device has a browser.
    pub fn verification_uri(&self) -> &str {
        &self.verification_uri
    }

    /// An address that has the code in it already, for a QR code or a link; not every server gives one. The code should
    /// be shown all the same, so that the user can compare (RFC 8628 §3.3.1).
    pub fn verification_uri_complete(&self) -> Option<&str> {
        self.verification_uri_complete.as_deref()
    }

    /// How long the code lives, from the server's answer on: half an hour where the server does not tell, a day at most.
    pub fn expires_in(&self) -> Duration {
        self.expires_in
    }
}

impl fmt::Display for DevicePrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.expires_in.as_secs().div_ceil(60);
        let DevicePrompt { user_code, verification_uri, .. } = self;
        write!(f, "To log in, open {verification_uri} and enter the code {user_code} (valid for {minutes} min)")
    }
}
