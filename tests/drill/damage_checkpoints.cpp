// Damages copies of checkpoints at seeded places and looks whether it is found before use.
//
//     sluice_damage_drill CHECKPOINTS COUNT SEED
//
// CHECKPOINTS holds two or more; the newest is damaged, COUNT times, each time from whole. Every
// time it must be refused with the file named, and the tensor where the damage lies in one, and the
// one before be chosen in its place. Prints one JSON object; exit code 1 when something was not
// found.
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "core/logging.hpp"
#include "core/random.hpp"
#include "io/checkpoint_manifest.hpp"
#include "pipeline/transport/transport.hpp"
#include "src/train/resume.hpp"

#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

namespace fs = std::filesystem;
using namespace sluice;

namespace {

enum class Damage : std::uint8_t { flip, truncate, remove, zero_block, swap_bytes };
constexpr const char* names[] = {"bit flip", "truncation", "deletion", "zeroed block",
                                 "two bytes swapped"};

struct WholeFile {
    std::string name, bytes;
};

void overwrite(const fs::path& path, const std::string& bytes)
{
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out << bytes;
    out.close();
    SLUICE_CHECK(out.good(), path.string());
}

std::vector<std::string> problems_of(const fs::path& folder)
{
    try {
        return CheckpointReader(folder).verify();
    } catch (const UserError& error) {
        return {error.what()};
    }
}

bool mentions(const std::vector<std::string>& problems, const std::string& text)
{
    for (const std::string& problem : problems)
        if (problem.find(text) != std::string::npos)
            return true;
    return false;
}

class Drill {
public:
    Drill(fs::path checkpoints, std::uint64_t seed)
        : checkpoints_(std::move(checkpoints)), random_(seed, "damage")
    {
        const auto found = list_checkpoints(checkpoints_);
        SLUICE_CHECK(found.size() >= 2, checkpoints_.string() << " has " << found.size());
        newest_ = found.back();
        before_ = found[found.size() - 2];
        SLUICE_CHECK(problems_of(newest_).empty() && problems_of(before_).empty(), "not whole");
        manifest_ = parse_manifest(read_file(newest_ / manifest_name), "manifest");
        for (const fs::directory_entry& entry : fs::directory_iterator(newest_))
            files_.push_back({entry.path().filename().string(), read_file(entry.path())});
        std::sort(files_.begin(), files_.end(),
                  [](const auto& a, const auto& b) { return a.name < b.name; });
    }

    void damage_once()
    {
        // Flips four times as often: they are the hardest to see.
        const std::uint64_t which = draw(8);
        const auto kind = which < 4 ? Damage::flip : static_cast<Damage>(which - 3);
        // A byte of any file is as likely to be hit as any other, and every file is hit.
        const WholeFile& file = draw(2) == 0 ? files_[draw(files_.size())] : file_of_a_byte();
        std::string bytes = file.bytes;
        const std::uint64_t place = draw(bytes.size());
        std::uint64_t begin = place, end = place + 1; // what has changed
        switch (kind) {
        case Damage::flip: bytes[place] = static_cast<char>(bytes[place] ^ (1 << draw(8))); break;
        case Damage::truncate:
            bytes.resize(place);
            end = file.bytes.size();
            break;
        case Damage::remove: end = file.bytes.size(), begin = 0; break;
        case Damage::zero_block:
            end = std::min<std::uint64_t>(bytes.size(), place + 512);
            std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                      bytes.begin() + static_cast<std::ptrdiff_t>(end), '\0');
            break;
        case Damage::swap_bytes:
            end = begin + 1; // the other end may lie in another tensor
            std::swap(bytes[place], bytes[draw(bytes.size())]);
            break;
        }
        if (kind != Damage::remove && bytes == file.bytes)
            return; // zeros where there were zeros
        if (kind == Damage::remove)
            fs::remove(newest_ / file.name);
        else
            overwrite(newest_ / file.name, bytes);
        judge(kind, file, begin, end, bytes);
        overwrite(newest_ / file.name, file.bytes);
    }

    int report() const
    {
        nlohmann::ordered_json rows;
        for (const auto& [kind, row] : rows_)
            rows.push_back({{"damage", names[static_cast<std::size_t>(kind)]},
                            {"tried", row.tried},
                            {"found", row.found},
                            {"in_a_tensor", row.in_tensor},
                            {"tensor_named", row.tensor_named},
                            {"previous_chosen", row.fell_back}});
        const nlohmann::ordered_json all{{"rows", rows}, {"bad", bad_}};
        std::printf("%s\n", all.dump(1).c_str());
        return bad_.empty() ? 0 : 1;
    }

private:
    struct Row {
        std::int64_t tried = 0, found = 0, in_tensor = 0, tensor_named = 0, fell_back = 0;
    };

    std::uint64_t draw(std::uint64_t below) { return random_.bits(drawn_++) % below; }

    const WholeFile& file_of_a_byte()
    {
        std::uint64_t total = 0;
        for (const WholeFile& file : files_)
            total += file.bytes.size();
        std::uint64_t place = draw(total);
        for (const WholeFile& file : files_) {
            if (place < file.bytes.size())
                return file;
            place -= file.bytes.size();
        }
        return files_.back();
    }

    /// The first tensor with a changed byte among [begin, end); none: nullptr.
    const ManifestArray* tensor_hit(const WholeFile& file, std::uint64_t begin, std::uint64_t end,
                                    const std::string& now) const
    {
        for (const ManifestArray& array : manifest_.arrays) {
            if (manifest_.stage_file(array.info.stage).file != file.name)
                continue;
            const std::uint64_t from = std::max(begin, array.file_offset);
            const std::uint64_t to = std::min(end, array.file_offset + array.num_bytes());
            if (from < to && to <= now.size() &&
                file.bytes.compare(from, to - from, now, from, to - from) != 0)
                return &array;
        }
        return nullptr;
    }

    void judge(Damage kind, const WholeFile& file, std::uint64_t begin, std::uint64_t end,
               const std::string& now)
    {
        Row& row = rows_[kind];
        ++row.tried;
        const auto problems = problems_of(newest_);
        const std::string what = std::string(names[static_cast<std::size_t>(kind)]) + " in " +
                                 file.name + " at " + std::to_string(begin);
        if (problems.empty())
            bad_.push_back(what + ": not found");
        else if (!mentions(problems, file.name))
            bad_.push_back(what + ": the file is not named: " + problems.front());
        else
            ++row.found;
        // A file of another size is refused before its tensors are looked at.
        const bool same_size = kind != Damage::remove && kind != Damage::truncate;
        if (const ManifestArray* hit = same_size ? tensor_hit(file, begin, end, now) : nullptr) {
            ++row.in_tensor;
            if (mentions(problems, hit->info.path))
                ++row.tensor_named;
            else
                bad_.push_back(what + ": " + hit->info.path + " is not named");
        }
        const auto chosen = choose_checkpoint(checkpoints_, {}, *transport_);
        if (chosen && chosen->path == before_)
            ++row.fell_back;
        else
            bad_.push_back(what + ": chosen: " + (chosen ? chosen->path.string() : "none"));
    }

    fs::path checkpoints_, newest_, before_;
    RandomStream random_;
    std::uint64_t drawn_ = 0;
    Manifest manifest_;
    std::vector<WholeFile> files_;
    std::map<Damage, Row> rows_;
    std::vector<std::string> bad_;
    std::unique_ptr<Transport> transport_ = make_in_process_transport();
};

} // namespace

int main(int argc, char** argv)
{
    if (argc != 4) {
        std::fprintf(stderr, "usage: sluice_damage_drill CHECKPOINTS COUNT SEED\n");
        return 2;
    }
    try {
        start_logging(1, 2); // errors only: thousands of warnings are expected
        Drill drill(argv[1], std::strtoull(argv[3], nullptr, 10));
        for (long long i = 0; i < std::atoll(argv[2]); ++i)
            drill.damage_once();
        return drill.report();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "sluice_damage_drill: %s\n", error.what());
        return 2;
    }
}
