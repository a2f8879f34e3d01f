// Gzip files: damaged, cut, several members, bombs. Memory stays that of one buffer.
#include "io/byte_stream.hpp"
#include "tests/fuzz/fuzz_input.hpp"

#include <array>

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static fuzz::MemoryFile file;
    file.hold(fuzz::text_of(data, size));
    static std::array<char, 4096> chunk;
    fuzz::accepted([&] {
        ByteStream stream(file.path());
        while (stream.read(chunk) == chunk.size())
            fuzz::require(stream.file_offset() <= size, "inside the file");
    });
    return 0;
}
