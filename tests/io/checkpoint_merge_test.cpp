#include "core/checksum.hpp"
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "io/checkpoint.hpp"
#include "io/hdf5_file.hpp"
#include "tests/io/checkpoint_fixture.hpp"

#include <boost/test/unit_test.hpp>
#include <fstream>

namespace fs = std::filesystem;
using namespace sluice;
using namespace sluice::testing;

BOOST_AUTO_TEST_SUITE(checkpoint_merge)

BOOST_AUTO_TEST_CASE(one_file_holds_the_whole_tree)
{
    for (int num_stages = 1; num_stages <= 3; ++num_stages) {
        ScratchFolder scratch;
        ExampleModel model;
        const CheckpointReader reader(save(model, scratch.path(), num_stages));
        const fs::path out = scratch.path() / "model.h5";
        const ManifestEntry written = merge_checkpoint(reader, out);
        BOOST_TEST(written.file == "model.h5");
        BOOST_TEST(written.size_bytes == fs::file_size(out));
        BOOST_TEST(written.checksum == checksum_of_file(out));
        fs::remove_all(reader.folder()); // it needs nothing beside it

        const Hdf5Reader file(out);
        BOOST_TEST(file.text_attribute("/", "format") == "sluice-checkpoint-merged");
        BOOST_TEST(file.text_attribute("/", "parameters_digest") == reader.parameters_digest());
        BOOST_TEST(file.text_attribute("/", "state_digest") == reader.state_digest());
        BOOST_TEST(file.int64_attribute("/progress", "update") == 7);
        BOOST_TEST(file.uint64_attribute("/progress", "seed") == ~std::uint64_t{0} - 1);
        BOOST_TEST(file.read_text("/config") == model.contents(0, 1).config_toml);
        BOOST_TEST((file.read_vector<std::int64_t>("/warmup/counter", 9) ==
                    std::vector<std::int64_t>(3, 7)));
        BOOST_TEST(file.read_vector<double>("/warmup/alpha", 9)[2] == 7.0 / 9.0);
        BOOST_TEST(file.datasets_below("/").size() == model.tensors.size() + 3);
        for (const ExampleModel::Tensor& tensor : model.tensors) {
            std::vector<float> values(tensor.values.size());
            file.read_dataset(tensor.path, Hdf5Type::f32,
                              std::as_writable_bytes(std::span(values)));
            BOOST_TEST((values == tensor.values), tensor.path);
            BOOST_TEST(file.text_attribute(tensor.path, "checksum") ==
                       checksum_of(std::as_bytes(std::span(values))));
        }
    }
}

BOOST_AUTO_TEST_CASE(nothing_is_overwritten)
{
    ScratchFolder scratch;
    ExampleModel model;
    const CheckpointReader reader(save(model, scratch.path(), 2));
    const fs::path out = scratch.path() / "model.h5";
    write_file_durably(out, "precious");
    fs::create_symlink("nowhere", scratch.path() / "link.h5");
    for (const fs::path& there : {out, scratch.path() / "link.h5", scratch.path()})
        BOOST_CHECK_EXCEPTION(merge_checkpoint(reader, there), UserError, [](const auto& error) {
            return error.code() == ExitCode::usage &&
                   error.problem().find("there already") != std::string::npos;
        });
    BOOST_TEST(read_file(out) == "precious");
}

BOOST_AUTO_TEST_CASE(damage_is_named_and_leaves_no_file)
{
    ScratchFolder scratch;
    ExampleModel model;
    const fs::path folder = save(model, scratch.path(), 2);
    const CheckpointReader reader(folder);
    {
        const fs::path stage = folder / "stage-0001-of-0002.h5";
        std::fstream file(stage, std::ios::in | std::ios::out | std::ios::binary);
        const std::string whole = read_file(stage);
        const std::string values(reinterpret_cast<const char*>(model.tensors.back().values.data()),
                                 16);
        const std::size_t at = whole.find(values);
        BOOST_REQUIRE(at != std::string::npos);
        file.seekp(static_cast<std::streamoff>(at));
        file.put(static_cast<char>(whole[at] ^ 1));
    }
    const fs::path out = scratch.path() / "model.h5";
    BOOST_TEST(
        contains(message_of([&] { merge_checkpoint(reader, out); }), model.tensors.back().path));
    BOOST_TEST(!fs::exists(out));
    BOOST_TEST(!fs::exists(out.string() + ".partial"));
    BOOST_TEST(contains(message_of([&] { merge_checkpoint(reader, scratch.path() / "no/x.h5"); }),
                        "No such file"));
    // A merged file is not a checkpoint, and says so.
    write_file_durably(out, "HDF");
    BOOST_TEST(
        contains(message_of([&] { CheckpointReader reader(out); }), "sluice checkpoint merge"));
}

BOOST_AUTO_TEST_SUITE_END()
