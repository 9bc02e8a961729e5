"""The words of the refusal list: what must not stand in a tactic, a statement or a header.

`refusal.py` says how a text is read and where each word counts.
"""

from prover.theorem_files.names import words

# Refused anywhere in the text, even inside a longer word: no proof has a use for them.
FRAGMENTS = ["sorry", "unsafe", "implemented_by", "ofReduceBool", "ofReduceNat", "trustCompiler", "skipKernelTC"]
FRAGMENTS += ["lcProof", "lcAny", "lcErased", "lcVoid", "include_str", "include_bytes", "dbg_trace", "dbgTrace"]
FRAGMENTS += ["_proverTrial"]  # the names under which statements are stepped

# Refused where a tactic may stand: they close goals without proof, wait, or go outside. Elsewhere they are names.
_CHEATS = ["admit", "stop", "apply?", "rw?", "native_decide", "sleep", "polyrith"]
# Refused as a whole word. Running programs:
_PROGRAMS = ["run_tac", "run_cmd", "run_elab", "run_meta", "by_elab", "elab", "elab_rules", "macro", "macro_rules"]
_PROGRAMS += ["simproc", "dsimproc", "initialize", "builtin_initialize"]
_PROGRAMS += ["_example"]  # what is being proved, under the name that an `example` has for itself
# Definitions of a proof's own, which `where` and `let rec` make (`NAME.f`): a submission holds none.
_DEFINITIONS = ["where", "letrec", "termination_by", "termination_by?", "decreasing_by"]
# Commands, so that what follows a parse error cannot declare or change anything for its neighbours:
_COMMANDS = ["axiom", "theorem", "lemma", "def", "abbrev", "opaque", "example", "instance"]
_COMMANDS += ["inductive", "coinductive", "structure", "class", "deriving", "mutual", "syntax", "notation", "notation3"]
_COMMANDS += ["infix", "infixl", "infixr", "prefix", "postfix", "declare_syntax_cat", "unif_hint", "binder_predicate"]
_COMMANDS += ["set_option", "export", "import", "prelude", "module", "namespace", "section", "end", "variable"]
_COMMANDS += ["universe", "attribute", "private", "protected", "public", "meta", "noncomputable", "partial", "nonrec"]
_COMMANDS += ["local", "scoped", "include", "omit", "init_quot", "seal", "unseal", "alias", "irreducible_def"]
_COMMANDS += ["register_option", "register_simp_attr", "add_decl_doc", "library_note", "gen_injective_theorems"]
_COMMANDS += ["proof_wanted", "suppress_compilation", "initialize_simps_projections", "add_aesop_rules"]
# The same of newer and rarer kinds:
_COMMANDS += ["grind_pattern", "set_library_suggestions", "with_weak_namespace", "unlock_limits", "unset_option"]
_COMMANDS += ["register_builtin_option", "register_label_attr", "register_linter_set", "register_grind_attr"]
_COMMANDS += ["register_sym_simp", "register_sym_dsimp", "register_sym_simp_attr", "register_try?_tactic"]
_COMMANDS += ["simproc_decl", "dsimproc_decl", "builtin_simproc", "builtin_dsimproc", "builtin_simproc_decl"]
_COMMANDS += ["builtin_dsimproc_decl", "simproc_pattern", "builtin_simproc_pattern", "declare_simp_like_tactic"]
_COMMANDS += ["declare_config_elab", "declare_core_config_elab", "declare_term_config_elab"]
_COMMANDS += ["declare_command_config_elab", "register_tactic_tag", "tactic_extension", "recommended_spelling"]
_COMMANDS += ["compile_inductive", "unsuppress_compilation", "norm_cast_add_elim", "deprecated_module"]
WORDS = frozenset([*_PROGRAMS, *_DEFINITIONS, *_COMMANDS])
TACTICS = frozenset([*_CHEATS, "run_tac"])
# Of these, the words that Lean's own grammar does not reserve: where no library makes commands of them, a variable of a
# statement may have such a name. Where one does, the statement does not parse; its candidates are tried apart.
VARIABLES = WORDS & words(
    """
    run_tac run_cmd run_elab run_meta by_elab simproc dsimproc letrec lemma prelude module seal unseal alias exit
    irreducible_def register_option register_simp_attr library_note gen_injective_theorems proof_wanted unif_hint
    suppress_compilation unsuppress_compilation initialize_simps_projections add_aesop_rules notation3 unset_option
    register_builtin_option register_label_attr register_linter_set register_grind_attr register_sym_simp
    register_sym_dsimp register_sym_simp_attr set_library_suggestions simproc_decl dsimproc_decl builtin_simproc
    builtin_dsimproc builtin_simproc_decl builtin_dsimproc_decl simproc_pattern builtin_simproc_pattern
    declare_simp_like_tactic declare_config_elab declare_core_config_elab declare_term_config_elab
    declare_command_config_elab compile_inductive norm_cast_add_elim
    """
)
RESERVED = WORDS - VARIABLES
# Harmless even where a library makes a command of it (it could add a true fact at most), so fine behind a dot.
FIELDS = frozenset(["lemma", "alias", "module", "prelude", "seal", "unseal", "letrec", "library_note", "proof_wanted"])

# Refused as any part of a dotted name, `«quoted»` or not: effects, the means of metaprograms (`simp`'s configuration is
# evaluated), and what the kernel would evaluate with compiled code.
PARTS = frozenset(["IO", "EIO", "BaseIO", "RealWorld", "Elab", "Meta", "MetaM", "CoreM", "TacticM", "TermElabM"])
PARTS |= {"reduceBool", "reduceNat"}

# Lean reads the longest token, and these are tokens: `#evalx` is `#eval x`. `#s` is what a notation `#` makes of `s`.
HASH_WORDS = words(
    """
    eval check print reduce synth exit guard help where version with_exporting widget html find search loogle
    leansearch moogle state_search min_imports redundant_imports simp norm_num norm_cast conv unfold push_neg pull
    push instances lint list_linters show_kind show_unused show_deprecated sample test explode count_heartbeats
    import_path import_diff assert aesop_rules aesop_stats grind_lint time string_diff trans_imports
    clear_deprecations info_trees long_names long_instances parse discr_tree whnf ring_nf kerodon_tags stacks_tags
    dump reset_cache
    """
)

# A header may open, declare variables and namespaces, set attributes and options; it declares and runs nothing.
_IN_HEADERS = ["set_option", "import", "prelude", "module", "namespace", "section", "end", "variable", "universe"]
_IN_HEADERS += ["attribute", "noncomputable", "public", "meta", "local", "scoped", "omit", "export"]
_IN_HEADERS += ["suppress_compilation"]
NOT_IN_HEADERS = ["skipKernelTC", "implemented_by", "ofReduceBool", "ofReduceNat", "trustCompiler", "warn.sorry"]
HEADER_WORDS = (WORDS | TACTICS | {"sorry", "unsafe", "implemented_by"}).difference(_IN_HEADERS)

# Attributes that hand lemmas and instances to tactics and to type classes. All others are refused: they change what
# programs do, how syntax is read or shown, or how far definitions unfold.
FINE_ATTRIBUTES = words(
    """
    simp ext instance norm_num norm_cast push_cast push_neg push aesop grind gcongr positivity fun_prop continuity
    measurability mono bound symm refl rfl trans congr simps field_simps fin_omega mfld_simps ring_nf zify_simps
    qify_simps pull elab_as_elim congr_simps nontriviality parity_simps monad_norm algebraMap
    """
)
