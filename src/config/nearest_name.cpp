#include "src/config/nearest_name.hpp"

#include <algorithm>
#include <cctype>

namespace sluice {

namespace {

std::string folded(std::string_view word)
{
    word.remove_prefix(std::min(word.find_first_not_of('-'), word.size()));
    std::string out(word);
    for (char& c : out)
        c = c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return out;
}

} // namespace

std::size_t edit_distance(std::string_view a, std::string_view b)
{
    // Three rows of the distance table: two back (for swaps), previous, current.
    std::vector<std::size_t> before(b.size() + 1), previous(b.size() + 1), current(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j)
        current[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        before.swap(previous);
        previous.swap(current);
        current[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t substitution = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            current[j] = std::min({previous[j] + 1, current[j - 1] + 1, substitution});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                current[j] = std::min(current[j], before[j - 2] + 1);
        }
    }
    return current[b.size()];
}

std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates)
{
    const std::string wanted = folded(word);
    constexpr std::size_t longest = 100; // comparing takes time that grows with the length
    if (wanted.empty() || wanted.size() > longest)
        return {};
    std::string nearest;
    std::size_t nearest_distance = std::max<std::size_t>(1, wanted.size() / 3) + 1;
    for (const std::string& candidate : candidates) {
        const std::size_t distance = edit_distance(wanted, folded(candidate));
        if (distance < nearest_distance) {
            nearest = candidate;
            nearest_distance = distance;
        }
    }
    if (!nearest.empty() || wanted.size() < 3)
        return nearest;
    for (const std::string& candidate : candidates)
        if (folded(candidate).starts_with(wanted))
            return candidate;
    for (const std::string& candidate : candidates)
        if (wanted.size() > 3 && folded(candidate).ends_with(wanted))
            return candidate;
    return {};
}

} // namespace sluice
