// Documents out of plain text and JSON lines, gzipped or not, cut into small pieces. The first two
// bytes choose how.
#include "io/text_source.hpp"
#include "tests/fuzz/fuzz_input.hpp"

#include <vector>
#include <zlib.h>

using namespace sluice;

namespace {

std::string gzipped(std::string_view text)
{
    z_stream stream{};
    fuzz::require(deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK,
                  "deflateInit2");
    std::string packed(deflateBound(&stream, text.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    fuzz::require(deflate(&stream, Z_FINISH) == Z_STREAM_END, "deflate");
    packed.resize(stream.total_out);
    deflateEnd(&stream);
    return packed;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    fuzz::Choices choices(data, size);
    const std::uint8_t how = choices.byte();
    TextSourceOptions options;
    options.format = how & 1 ? TextFormat::jsonl : TextFormat::text;
    if (how & 8)
        options.format = TextFormat::automatic;
    options.max_piece_bytes = 4 + (how >> 4);
    options.max_bad_lines = how >> 6;
    if (how & 4)
        options.max_bytes = choices.byte();
    static fuzz::MemoryFile file;
    file.hold(how & 2 ? gzipped(choices.rest()) : std::string(choices.rest()));
    fuzz::accepted([&] {
        TextSource source({file.path()}, options);
        std::uint64_t num_bytes = 0, document = 0;
        TextPiece piece;
        while (source.next(piece)) {
            fuzz::require(piece.document == document, "documents in order");
            fuzz::require(piece.text.size() <= options.max_piece_bytes, "pieces as long as asked");
            num_bytes += piece.text.size();
            document += piece.ends_document ? 1 : 0;
        }
        fuzz::require(source.counts().documents == document, "every document ends");
        fuzz::require(source.counts().text_bytes == num_bytes && num_bytes <= options.max_bytes,
                      "bytes are counted");
    });
    return 0;
}
