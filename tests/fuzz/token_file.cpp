// Token files (HDF5): opened, verified, read whole. The first byte chooses how the rest is meant
// (hdf5_forgery.hpp).
#include "io/token_file.hpp"
#include "io/token_file_writer.hpp"
#include "tests/fuzz/fuzz_input.hpp"
#include "tests/fuzz/hdf5_forgery.hpp"

#include <vector>

using namespace sluice;

namespace {

std::string small_token_file()
{
    const fuzz::ScratchFolder folder;
    const std::filesystem::path path = folder.path() / "tokens.h5";
    TokenFileWriter writer(path, {"bytes", 257, 256, "all", "fuzz"});
    for (const std::uint32_t length : {3u, 1u, 6u}) {
        std::vector<std::uint32_t> document(length, length);
        writer.append(document);
        writer.end_document();
    }
    writer.finish("digest of the text");
    return fuzz::bytes_of_file(path);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static const fuzz::Hdf5Forgery forgery(small_token_file());
    static fuzz::MemoryFile file;
    fuzz::Choices choices(data, size);
    file.hold(forgery.forged(choices));
    fuzz::accepted([&] {
        const TokenFile tokens(file.path());
        fuzz::accepted([&] { tokens.verify(); });
        std::vector<std::int32_t> ids(std::min<std::uint64_t>(tokens.info().num_tokens, 1000));
        tokens.read(0, ids);
        tokens.read(tokens.info().num_tokens - ids.size(), ids);
    });
    return 0;
}
