//! What plain ureq weighs: one GET of JSON with a fixed token.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: plain URL")?;
    let answer: serde_json::Value =
        ureq::get(&url).header("authorization", "Bearer fixed").call()?.body_mut().read_json()?;
    println!("{answer}");
    Ok(())
}
