//! placeholder until merged
pub fn pin_current_thread(_cpu: usize) -> bool {
    false
}
