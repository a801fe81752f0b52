//! Agents that a user makes, with parts of their own.

use std::sync::Arc;

use ureq::Agent;
use ureq::config::Config;

use crate::{Error, Result};

/// How a user makes an agent of that configuration, with parts of their own.
pub(crate) type MakeAgent = Arc<dyn Fn(Config) -> Result<Agent> + Send + Sync>;

/// Has the agent that a user made the configuration that it was to be made of? One that follows redirects would send secrets
/// to whoever answers with one.
///
/// # Errors
///
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) if it has another.
pub(in crate::oauth2) fn made_as_asked(agent: Agent) -> Result<Agent> {
    let config = agent.config();
    if config.max_redirects() == 0 && !config.http_status_as_error() && config.max_idle_connections() == 0 {
        return Ok(agent);
    }
    Err(Error::invalid(
        "make_agent() has not used the configuration that it got, so secrets could follow a redirect: pass it on, as in \
         make_agent(|config| Agent::with_parts(config, connector, resolver))",
    ))
}
