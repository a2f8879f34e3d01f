// Ranges of updates: "100-102,200".
#include "src/config/update_ranges.hpp"
#include "tests/fuzz/fuzz_input.hpp"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    std::vector<UpdateRange> ranges;
    const auto parse = [&](const std::string& text) {
        return fuzz::accepted([&] { ranges = parse_update_ranges(text, "trace.updates"); });
    };
    if (!parse(std::string(fuzz::text_of(data, size))))
        return 0;
    std::string written;
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        const UpdateRange& range = ranges[i];
        fuzz::require(1 <= range.first && range.first <= range.last, "a range has an update");
        fuzz::require(range.num_updates() >= 1, "their number is one");
        fuzz::require(i == 0 || ranges[i - 1].last < range.first - 1, "apart and in order");
        written += (i == 0 ? "" : ",") + std::to_string(range.first);
        if (range.last != range.first)
            written += "-" + std::to_string(range.last);
    }
    const auto first = ranges;
    fuzz::require(parse(written) && ranges == first, "the same ranges again");
    return 0;
}
