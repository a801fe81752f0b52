//! What is compared with: the same with plain ureq, which gets one token and never another.

use common::{argument, fetch};

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let agent = ureq::Agent::new_with_defaults();
    let token = fetch(&agent, &argument(2)?, &argument(3)?, &argument(4)?)?;
    let authorization = format!("Bearer {token}");
    let answer: serde_json::Value =
        agent.get(argument(1)?).header("authorization", authorization).call()?.body_mut().read_json()?;
    println!("{answer}");
    Ok(())
}
