//! What plain ureq weighs: one GET with a fixed token.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: plain URL")?;
    let text = ureq::get(&url).header("authorization", "Bearer fixed").call()?.body_mut().read_to_string()?;
    println!("{text}");
    Ok(())
}
