//! SHA-256 of one buffer, as the `sha2` crate has it, for benches/hash.mjs.

use std::cell::RefCell;

use sha2::{Digest, Sha256};

thread_local! {
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<[u8; 32]> = const { RefCell::new([0; 32]) };
}

/// Makes room for `len` bytes, and says where they go.
#[unsafe(no_mangle)]
pub extern "C" fn input(len: usize) -> *const u8 {
    INPUT.with_borrow_mut(|bytes| {
        bytes.resize(len, 0);
        bytes.as_ptr()
    })
}

/// Hashes them, and says where the 32 bytes of the result are.
#[unsafe(no_mangle)]
pub extern "C" fn hash() -> *const u8 {
    let digest = INPUT.with_borrow(|bytes| Sha256::digest(bytes));
    OUTPUT.with_borrow_mut(|output| {
        output.copy_from_slice(&digest);
        output.as_ptr()
    })
}
