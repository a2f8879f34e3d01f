// Which updates of a run something is done in: "100-102", "5", "100-102,200".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

struct UpdateRange {
    std::int64_t first = 0, last = 0; ///< both included, counted from 1
    std::int64_t num_updates() const { return last - first + 1; }
    bool operator==(const UpdateRange&) const = default;
};

/// In order, what overlaps or touches joined; empty for an empty text. `where` names the key in
/// messages. Throws UserError (usage) with the nearest form that is understood.
std::vector<UpdateRange> parse_update_ranges(const std::string& text, const std::string& where);

} // namespace sluice
