//! What a store of files does, word by word.
