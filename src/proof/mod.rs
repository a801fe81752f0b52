//! Proof, not product: what the model checkers run, and what every parser of foreign input promises. Not in the published
//! package.

#[cfg(any(all(test, not(model)), fuzzing))]
pub mod fuzzing;
#[cfg(test)]
mod models;
