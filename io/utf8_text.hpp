// Telling text from other bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sluice {

bool is_utf8(std::string_view bytes);

/// Length of the longest beginning of `bytes` that does not end inside a UTF-8 code point.
std::size_t whole_code_points(std::string_view bytes);

/// Checks text that arrives in chunks, cut anywhere: valid UTF-8 without NUL bytes.
class TextCheck {
public:
    /// False as soon as something is wrong, and from then on.
    bool feed(std::string_view chunk);
    /// Call after the last chunk: false also when the text ends inside a code point.
    bool finish();

    /// What was wrong and where: "byte 17 is a NUL", "line 3 is not UTF-8".
    const std::string& problem() const { return problem_; }

private:
    bool check(std::string_view whole);
    bool fail_in_line(std::string_view whole);

    std::string carry_; ///< the beginning of a code point whose rest is in the next chunk
    std::string problem_;
    std::uint64_t bytes_seen_ = 0, lines_seen_ = 0;
};

} // namespace sluice
