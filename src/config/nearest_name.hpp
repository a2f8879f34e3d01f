// The name somebody probably meant.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

/// Single-character insertions, deletions, substitutions and swaps of neighbours that turn one word
/// into the other (optimal string alignment distance).
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `word`, or an empty string when none is near: letters' case, leading
/// dashes and the difference between `-` and `_` do not count; about one edit in three characters
/// is near, and so is a candidate that begins with `word` (of three characters or more) or ends
/// with it (four or more). Of equals, the first.
std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates);

} // namespace sluice
