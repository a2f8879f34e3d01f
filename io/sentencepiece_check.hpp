// What the SentencePiece library takes on trust in a model file, checked before it is loaded.
//
// A model carries its text normalisation as a ready-made search tree (a double-array trie of the
// Darts-clone library, as bytes), which is walked without looking where it leads: with other bytes
// there, encoding reads memory that is not the model's.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

/// What is wrong with the normalisation rules inside `model` (a serialized
/// sentencepiece.ModelProto), or empty. Whether the rest is a model is left to the library.
std::string problem_with_normalisation(std::string_view model);

} // namespace sluice
