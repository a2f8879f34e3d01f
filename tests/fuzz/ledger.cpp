// trace/ledger.json of a run folder.
#include "src/plan/measured_run.hpp"
#include "tests/fuzz/fuzz_input.hpp"

using namespace sluice;

namespace {

/// A run folder whose ledger is a file in memory.
struct RunFolder {
    RunFolder()
    {
        std::filesystem::create_directory(folder.path() / "trace");
        std::filesystem::create_symlink(ledger.path(), folder.path() / "trace" / "ledger.json");
    }
    fuzz::ScratchFolder folder;
    fuzz::MemoryFile ledger;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static RunFolder run;
    run.ledger.hold(fuzz::text_of(data, size));
    fuzz::accepted([&] { read_measured_run(run.folder.path()); });
    return 0;
}
