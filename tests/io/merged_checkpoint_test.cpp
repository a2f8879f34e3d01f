#include "core/checksum.hpp"
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "io/checkpoint.hpp"
#include "io/checkpoint_sections.hpp"
#include "io/hdf5_file.hpp"
#include "io/merged_checkpoint.hpp"
#include "tests/io/checkpoint_fixture.hpp"

#include <boost/test/unit_test.hpp>
#include <fstream>
#include <sstream>

namespace fs = std::filesystem;
using namespace sluice;
using namespace sluice::testing;

namespace {

fs::path merged(ExampleModel& model, const fs::path& folder, int num_stages)
{
    const fs::path out = folder / "model.h5";
    merge_checkpoint(CheckpointReader(save(model, folder, num_stages)), out);
    return out;
}

void overwrite(const fs::path& path, const std::string& bytes)
{
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/// What training, inspect and eval take from a checkpoint; for comparing.
std::string everything_in(const CheckpointReader& reader)
{
    std::ostringstream text;
    const CheckpointProgress& progress = reader.progress();
    text << reader.update() << ' ' << reader.created_at() << ' ' << reader.parameters_digest()
         << ' ' << reader.state_digest() << '\n'
         << progress.update << ' ' << progress.samples << ' ' << progress.tokens << ' '
         << progress.seed << ' ' << progress.skipped.text() << ' ' << progress.num_rewinds << ' '
         << progress.program << ' ' << progress.arithmetic;
    for (const double loss : progress.recent_losses)
        text << ' ' << std::hexfloat << loss;
    text << '\n' << reader.config_toml() << '\n';
    for (std::size_t layer = 0; layer < reader.warmup().counters.size(); ++layer)
        text << reader.warmup().counters[layer] << ' ' << std::hexfloat
             << reader.warmup().alphas[layer] << '\n';
    for (const auto& info : reader.arrays()) {
        std::vector<float> values(static_cast<std::size_t>(info.shape.num_elements()));
        reader.read(info.path, {values.data(), info.dtype, info.shape, Device{}});
        text << info.path << ' ' << info.shape.text() << ' ' << info.checksum << ' '
             << checksum_of(std::as_bytes(std::span(values))) << '\n';
    }
    return text.str();
}

} // namespace

BOOST_AUTO_TEST_SUITE(merged_checkpoint)

BOOST_AUTO_TEST_CASE(one_file_holds_the_whole_tree)
{
    for (int num_stages = 1; num_stages <= 3; ++num_stages) {
        TemporaryFolder scratch;
        ExampleModel model;
        const CheckpointReader reader(save(model, scratch.path(), num_stages));
        const fs::path out = scratch.path() / "model.h5";
        const ManifestEntry written = merge_checkpoint(reader, out);
        BOOST_TEST(written.file == "model.h5");
        BOOST_TEST(written.size_bytes == fs::file_size(out));
        BOOST_TEST(written.checksum == checksum_of_file(out));
        fs::remove_all(reader.path()); // it needs nothing beside it

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
    TemporaryFolder scratch;
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
    TemporaryFolder scratch;
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
                        "no/x.h5: No such file"));
}

BOOST_AUTO_TEST_CASE(it_reads_as_its_folder_does)
{
    for (int num_stages = 1; num_stages <= 3; ++num_stages) {
        TemporaryFolder scratch;
        ExampleModel model;
        const fs::path folder = save(model, scratch.path(), num_stages);
        const std::string expected = everything_in(CheckpointReader(folder));
        const fs::path out = scratch.path() / "model.h5";
        merge_checkpoint(CheckpointReader(folder), out);
        fs::remove_all(folder);
        fs::create_symlink("model.h5", scratch.path() / "link.h5");
        for (const fs::path& path : {out, scratch.path() / "link.h5"}) {
            const CheckpointReader reader(path);
            BOOST_TEST(reader.path() == path);
            BOOST_TEST(reader.num_stages() == 1);
            BOOST_TEST(reader.verify().empty());
            BOOST_TEST(everything_in(reader) == expected);
        }
        const fs::path again = scratch.path() / "again.h5";
        merge_checkpoint(CheckpointReader(out), again);
        BOOST_TEST(checksum_of_file(again) == checksum_of_file(out));
    }
}

BOOST_AUTO_TEST_CASE(what_anomalies_left_and_what_computed_it_is_in_it)
{
    TemporaryFolder scratch;
    ExampleModel model;
    StageContents contents = model.contents(0, 1);
    contents.progress.num_rewinds = 2;
    contents.progress.skipped = SkippedBatches(std::vector<std::int64_t>{3, 5, 9, 10}, "a test");
    contents.progress.recent_losses = {3.5, 2.25, 1.125};
    contents.progress.program = "sluice 0.1.0";
    contents.progress.arithmetic = "oneDNN 2.6.3 (AVX2), glibc 2.36";
    const fs::path partial = scratch.path() / partial_folder_name(7);
    const fs::path folder = scratch.path() / checkpoint_folder_name(7);
    finish_checkpoint(partial, folder, {write_stage_file(partial, 0, 1, contents)});
    const fs::path out = scratch.path() / "model.h5";
    merge_checkpoint(CheckpointReader(folder), out);
    BOOST_TEST(everything_in(CheckpointReader(out)) == everything_in(CheckpointReader(folder)));
}

BOOST_AUTO_TEST_CASE(bits_that_changed_are_found_or_changed_nothing)
{
    TemporaryFolder scratch;
    ExampleModel model;
    const fs::path out = merged(model, scratch.path(), 2);
    const std::string whole = read_file(out);
    const std::string expected = everything_in(CheckpointReader(out));
    std::size_t found = 0, tried = 0;
    for (std::size_t at = 3; at < whole.size(); at += 283) {
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x20);
        overwrite(out, damaged);
        const std::string problem = first_problem(out);
        ++tried;
        if (!problem.empty()) {
            ++found;
            BOOST_TEST(contains(problem, "model.h5"), problem);
        } else {
            BOOST_TEST(everything_in(CheckpointReader(out)) == expected, "byte " << at);
        }
    }
    BOOST_TEST(tried > 50u);
    BOOST_TEST(found > tried / 2);
}

BOOST_AUTO_TEST_CASE(damage_to_a_tensor_and_to_the_run_file_is_named)
{
    TemporaryFolder scratch;
    ExampleModel model;
    const fs::path out = merged(model, scratch.path(), 2);
    const std::string whole = read_file(out);
    const auto damage = [&](std::string_view bytes) {
        std::string damaged = whole;
        const std::size_t at = damaged.find(bytes);
        BOOST_REQUIRE(at != std::string::npos);
        damaged[at + 1] = static_cast<char>(damaged[at + 1] ^ 1);
        overwrite(out, damaged);
    };
    const auto& tensor = model.tensors.back();
    damage({reinterpret_cast<const char*>(tensor.values.data()), 16});
    BOOST_TEST(contains(first_problem(out), tensor.path));
    damage(model.contents(0, 1).config_toml);
    BOOST_TEST(contains(first_problem(out), "/config is damaged"));
    for (std::size_t size = 0; size < whole.size(); size += 1 + whole.size() / 23) {
        overwrite(out, whole.substr(0, size));
        BOOST_TEST(contains(first_problem(out), "model.h5"), first_problem(out));
    }
}

BOOST_AUTO_TEST_CASE(other_files_are_refused_with_what_they_are)
{
    TemporaryFolder scratch;
    ExampleModel model;
    const fs::path folder = save(model, scratch.path(), 2);
    for (const char* part : {"checkpoint.h5", "stage-0001-of-0002.h5"})
        BOOST_TEST(contains(first_problem(folder / part), "only a part of a checkpoint"));
    overwrite(scratch.path() / "notes.txt", "HDF");
    BOOST_TEST(contains(first_problem(scratch.path() / "notes.txt"), "notes.txt"));
    {
        Hdf5Writer other(scratch.path() / "other.h5");
        other.write_text("/config", "[run]");
        other.commit();
    }
    BOOST_TEST(contains(first_problem(scratch.path() / "other.h5"), "not a checkpoint"));
}

BOOST_AUTO_TEST_CASE(digests_and_links_of_a_foreign_hand_are_refused)
{
    TemporaryFolder scratch;
    ExampleModel model;
    const fs::path out = merged(model, scratch.path(), 1);
    const CheckpointReader reader(out);
    const auto forged = [&](const std::string& parameters_digest, bool with_link) {
        const fs::path path = scratch.path() / "forged.h5";
        fs::remove(path);
        Hdf5Writer file(path);
        file.set_attribute("/", "format", "sluice-checkpoint-merged");
        file.set_attribute("/", "format_version", checkpoint_format_version);
        file.set_attribute("/", "num_layers", std::int64_t{3});
        file.set_attribute("/", "parameters_digest", parameters_digest);
        file.set_attribute("/", "state_digest", reader.state_digest());
        write_progress(file, reader.progress(), reader.config_toml());
        write_gates(file, reader.warmup().counters, reader.warmup().alphas);
        for (const auto& [section, checksum] :
             section_checksums(reader.progress(), reader.config_toml(), reader.warmup()))
            file.set_attribute(section, "checksum", checksum);
        for (const ExampleModel::Tensor& tensor : model.tensors)
            write_tensor(
                file, tensor.path,
                {const_cast<float*>(tensor.values.data()), DType::f32, tensor.shape, Device{}});
        if (with_link)
            file.link_external("/parameters/elsewhere", "/etc/passwd", "/x");
        file.commit();
        return first_problem(path);
    };
    BOOST_TEST(forged(reader.parameters_digest(), false).empty());
    BOOST_TEST(contains(forged(std::string(32, '0'), false), "parameters_digest"));
    BOOST_TEST(contains(forged(reader.parameters_digest(), true), "the link"));
}

BOOST_AUTO_TEST_SUITE_END()
