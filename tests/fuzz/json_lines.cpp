// JSON lines, read to the end or to the first bad line.
#include "io/json_lines.hpp"
#include "tests/fuzz/fuzz_input.hpp"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static fuzz::MemoryFile file;
    file.hold(fuzz::text_of(data, size));
    fuzz::accepted([&] {
        JsonLines lines(file.path(), "text");
        std::string text;
        while (lines.next(text))
            fuzz::require(text.size() <= size, "a text is no longer than its file");
    });
    return 0;
}
