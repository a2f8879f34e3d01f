// Settings of a cluster: nothing a shell would act on comes through.
#include "src/submit/site_file.hpp"
#include "tests/fuzz/fuzz_input.hpp"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    fuzz::accepted([&] {
        const SiteSettings settings = parse_site_settings(fuzz::text_of(data, size), "site.env");
        for (const auto* list : {&settings.sbatch, &settings.variables})
            for (const auto& [name, value] : *list) {
                fuzz::require(!name.empty(), "a setting has a name");
                fuzz::require(value.find_first_of("\"'`$\\\n\r") == std::string::npos,
                              "a value is plain");
            }
    });
    return 0;
}
