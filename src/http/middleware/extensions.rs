//! What a caller says of one request, and hears with one answer, beside what HTTP carries.

use std::sync::Weak;

use ureq::Agent;

use crate::Session;

/// A request's extension: how many redirects the client follows for this request, instead of its own setting. With 0
/// the caller gets the redirect itself.
///
/// ```no_run
/// # fn show(client: ureq_auth::Client) -> Result<(), ureq::Error> {
/// let answer = client.get("https://api.example.com/moved").extension(ureq_auth::MaxRedirects(0)).call()?;
/// assert_eq!(answer.status(), 301);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MaxRedirects(pub u32);

/// An answer's extension: this 401 was the token's fault and the token is fresh now, but the request's body could not be
/// sent a second time. Send the request again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NotReplayed;

/// A request's extension: the session that it belongs to, where several share the client's agent.
#[derive(Clone)]
pub(crate) struct Of {
    pub(crate) session: Session,
    /// The client that it is said to. A middleware may hand the request to another, which has nothing to do with that session.
    pub(crate) client: Weak<dyn AsRef<Agent> + Send + Sync>,
}
