// Run files, and `--set` overrides behind the first NUL byte, one per line. What is accepted must
// survive being written out and read again.
#include "src/config/layout.hpp"
#include "src/config/run_config.hpp"
#include "tests/fuzz/fuzz_input.hpp"

#include <vector>

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const std::string_view input = fuzz::text_of(data, size);
    const std::size_t end = input.find('\0');
    std::vector<std::string> overrides;
    for (std::string_view rest = input.substr(std::min(end, size)); !rest.empty();) {
        rest.remove_prefix(1); // the NUL or the end of the line before
        overrides.emplace_back(rest.substr(0, rest.find('\n')));
        rest.remove_prefix(overrides.back().size());
    }
    RunConfig config;
    if (!fuzz::accepted([&] {
            config = parse_run_config(input.substr(0, end), "run.toml", "/folder", overrides);
        }))
        return 0;
    const std::string written = resolved_toml(config);
    RunConfig again;
    fuzz::require(
        fuzz::accepted([&] { again = parse_run_config(written, "config.toml", "/folder", {}); }),
        "a resolved run file is a run file");
    fuzz::require(resolved_toml(again) == written, "resolving twice changes nothing");
    fuzz::require(differences_in_result(config, again).empty(), "the same run");
    for (const std::int64_t num_ranks : {1, 2, 64})
        fuzz::accepted([&] { check_layout(config, num_ranks); });
    return 0;
}
