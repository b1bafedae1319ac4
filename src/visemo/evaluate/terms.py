"""What the words of a report mean."""

TERMS = {
    "interval": (
        "95 % bootstrap interval over n sequences: whole sequences are drawn again, as frames of one are no "
        "independent witnesses."
    ),
    "mode": (
        "Whose motion is measured. speech: the speech model, or the speech blendshapes alone. expression: the "
        "expression blendshapes alone. fused: both (Eq. 13). residual: the recordings less what each holds of "
        "the other factor (Eq. 8). naive: the recordings as they are. truth: the recording, or where truth "
        "was planted the pure part."
    ),
    "lve": ("Lip vertex error: mean over frames of the distance of the lip vertex that is farthest off, mm."),
    "lve below ...": (
        "How much smaller the speech model's error is than that of a guess fitted on the training takes: a "
        "face that keeps its mean, a jaw that follows loudness, the training frame that sounds most alike."
    ),
    "upper-face deviation": (
        "FDD: standard deviation over time of the squared displacement, truth less prediction, mean over the "
        "upper face; positive is too stiff."
    ),
    "mouth opening difference": (
        "Mean over frames of the difference of two lip gaps; a lip gap is the mean distance of all lip pairs."
    ),
    "lip-sync lag": (
        "How late the lips are at the shift of at most five frames where their gap goes best with the recorded one."
    ),
    "closure recall at /p b m/": (
        "Share of the phones p, b and m within 0.1 s of whose middle the lips come as near as 1 mm."
    ),
    "closure recall": (
        "Where phones are not known: of the moments when the recorded lips come nearer than 1 mm after they "
        "were more than 2 mm apart, the share at which the lips come as near, give or take 1 mm."
    ),
    "w_A, eps_A, w_E, eps_E": (
        "Weights of the speech blendshapes and of the expression's, from speech (A) and from expression (E); "
        "eps is what data of one kind holds of the other factor."
    ),
    "deviation from linear": (
        "Encoders see each take at 0.25 to 1.5 of its size: the largest relative difference of the weights "
        "from those in proportion."
    ),
    "emotion kept": (
        "The guarded expression on a speaking face against the pure one, beside the lips: its size along the "
        "pure motion (1 is all of it) and the cosine between the two. At the lips: the expression blendshapes "
        "alone."
    ),
}
