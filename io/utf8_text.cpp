#include "io/utf8_text.hpp"

#include <algorithm>
#include <simdjson.h>

namespace sluice {

namespace {

/// Bytes of the code point that `lead` begins; 1 for anything that begins none.
std::size_t code_point_bytes(unsigned char lead)
{
    if (lead >= 0xF0 && lead < 0xF8)
        return 4;
    if (lead >= 0xE0 && lead < 0xF0)
        return 3;
    return lead >= 0xC0 && lead < 0xE0 ? 2 : 1;
}

} // namespace

bool is_utf8(std::string_view bytes) { return simdjson::validate_utf8(bytes.data(), bytes.size()); }

std::size_t whole_code_points(std::string_view bytes)
{
    const std::size_t size = bytes.size();
    for (std::size_t back = 1; back <= std::min<std::size_t>(3, size); ++back) {
        const auto byte = static_cast<unsigned char>(bytes[size - back]);
        if ((byte & 0xC0) != 0x80) // the last byte that begins a code point
            return code_point_bytes(byte) > back ? size - back : size;
    }
    return size;
}

bool TextCheck::feed(std::string_view chunk)
{
    if (!problem_.empty())
        return false;
    const std::size_t nul = chunk.find('\0');
    if (nul != std::string_view::npos) {
        problem_ = "byte " + std::to_string(bytes_seen_ + nul) + " is a NUL";
        return false;
    }
    bytes_seen_ += chunk.size();
    // Complete the code point that the last chunk began; at most three bytes move.
    while (!carry_.empty() && !chunk.empty()) {
        carry_ += chunk.front();
        chunk.remove_prefix(1);
        if (whole_code_points(carry_) == carry_.size()) {
            if (!check(carry_))
                return false;
            carry_.clear();
        }
    }
    const std::size_t whole = whole_code_points(chunk);
    carry_ += chunk.substr(whole);
    return check(chunk.substr(0, whole));
}

bool TextCheck::finish()
{
    if (problem_.empty() && !carry_.empty())
        return fail_in_line(carry_);
    return problem_.empty();
}

bool TextCheck::check(std::string_view whole)
{
    if (!is_utf8(whole))
        return fail_in_line(whole);
    lines_seen_ += static_cast<std::uint64_t>(std::count(whole.begin(), whole.end(), '\n'));
    return true;
}

bool TextCheck::fail_in_line(std::string_view whole)
{
    std::uint64_t line = lines_seen_ + 1;
    for (;; ++line) {
        const std::size_t end = whole.find('\n');
        const std::string_view text = whole.substr(0, end);
        if (end == std::string_view::npos || !is_utf8(text))
            break;
        whole.remove_prefix(end + 1);
    }
    problem_ = "line " + std::to_string(line) + " is not UTF-8";
    return false;
}

} // namespace sluice
